"""Makes a long answer, and a script that streams the answer to a page without a model."""

from __future__ import annotations

CHARACTERS_PER_TOKEN = 4
SECTION = """## Part {number}

The trapezoidal rule converges *geometrically* for **smooth periodic** functions, see `np.trapezoid` and [1].

1. First choose the interval, $L = {number}$.
2. Then double the nodes until $|e| < 10^{{-{number}}}$.

```python
def part_{number}(n: int) -> float:
    x = np.linspace(-{number}, {number}, n)  # nodes
    return float(np.trapezoid(np.exp(-x**2), x))
```

| nodes | error |
| ----: | ----- |
| {number} | 5.0e-01 |

"""
# Replaces fetch. It answers /v1/chat/completions with window.answer: first the head, and then, when window.tail is
# "go", the tail in pieces. A piece is sent every 40 ms, so that the panel is updated for each piece.
FAKE_STREAM = """
const real = window.fetch;
window.fetch = async (input, init) => {
    const url = typeof input === 'string' ? input : input.url;
    if (!url.includes('/v1/chat/completions')) return real(input, init);
    const encoder = new TextEncoder();
    const chunk = text => encoder.encode(
        `data: ${JSON.stringify({ choices: [{ delta: { content: text }, finish_reason: null }] })}\\n\\n`);
    const pause = ms => new Promise(resolve => setTimeout(resolve, ms));
    const body = new ReadableStream({
        async start(controller) {
            const { head, tail, updates } = window.answer;
            for (let at = 0; at < head.length; at += 400) {
                controller.enqueue(chunk(head.slice(at, at + 400)));
                await pause(5);
            }
            await pause(2000);
            window.tail = 'ready';
            while (window.tail !== 'go') await pause(20);
            const size = Math.ceil(tail.length / updates);
            for (let at = 0; at < tail.length; at += size) {
                controller.enqueue(chunk(tail.slice(at, at + size)));
                await pause(40);
            }
            window.tail = 'done';
            controller.enqueue(encoder.encode('data: [DONE]\\n\\n'));
            controller.close();
        }
    });
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
};
"""


def long_answer(tokens: int) -> dict[str, str]:
    """Markdown of about `tokens` tokens. `head` is the first 97 %, `tail` is the rest."""
    text = ""
    number = 1
    while len(text) < tokens * CHARACTERS_PER_TOKEN:
        text += SECTION.format(number=number)
        number += 1
    cut = int(len(text) * 0.97)
    return {"head": text[:cut], "tail": text[cut:]}
