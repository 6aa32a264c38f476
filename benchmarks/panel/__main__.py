"""Measures the panel in a real browser: bundle sizes, time to the first painted token and to a stop, scripting time."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import CDPSession, Page, sync_playwright

from benchmarks.panel.answers import FAKE_STREAM, long_answer
from benchmarks.panel.stops import STOPS, stop_times
from tests.browser.conftest import PATIENCE_MS, lab_arguments
from tests.browser.panels import Panel, lab_sidebar, open_lab
from tests.e2e.running import RunningServer, running_server

PACKAGE = Path(__file__).parents[2] / "pico_jupyter"
ROUNDS = 20
TOKENS = 20_000
# Scripting time is averaged over this number of updates at the end of the long answer.
UPDATES = 60
# Records when the first text of the answer is painted: the timeout runs after the frame that contains the text.
WATCH_FIRST_PAINT = """() => {
    window.firstPaint = new Promise(resolve => {
        const observer = new MutationObserver(() => {
            const last = [...document.querySelectorAll('.pico-answer')].at(-1);
            if (last?.querySelector('.pico-md')?.textContent) {
                observer.disconnect();
                requestAnimationFrame(() => setTimeout(() => resolve(performance.now())));
            }
        });
        const messages = document.querySelector('.pico-messages');
        observer.observe(messages, { subtree: true, childList: true, characterData: true });
    });
    const remember = () => { window.clicked = performance.now(); };
    document.querySelector('.pico-send').addEventListener('click', remember, { capture: true, once: true });
}"""
# Measures the server alone: the page sends the same request with fetch and waits for the first event with text.
MEASURE_SERVER = """async ([url, token, text]) => {
    const messages = [{ role: 'user', content: text }];
    const start = performance.now();
    const response = await fetch(url + 'pico/v1/chat/completions', {
        method: 'POST',
        headers: { Authorization: `token ${token}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ model: 'pico-tiny', stream: true, reasoning: { effort: 'off' }, messages })
    });
    const reader = response.body.getReader();
    let seen = '';
    while (!/"content":"[^"]/.test(seen)) {
        seen += new TextDecoder().decode((await reader.read()).value);
    }
    const first = performance.now() - start;
    await reader.cancel();
    return first;
}"""


GROW_JUPYTER_CHAT = """async updates => {
    const { head, tail } = window.answer;
    const size = Math.ceil(tail.length / updates);
    for (let at = 0; at < tail.length; at += size) {
        // @jupyter/chat skips updates while it is busy. Wait until this update is in the page.
        const shown = new Promise(resolve => {
            const observer = new MutationObserver(() => (observer.disconnect(), resolve()));
            observer.observe(document.querySelector('#jupyter-chat'), { subtree: true, childList: true });
        });
        window.jupyterChat.grow(head + tail.slice(0, at + size));
        await shown;
        await new Promise(resolve => setTimeout(resolve, 40));
    }
}"""


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.panel", description=__doc__)
    parser.add_argument(
        "--beside", type=Path, metavar="DIST", help="also measure @jupyter/chat, built as in jupyter_chat/README.md"
    )
    beside = parser.parse_args().beside
    print("bundles")
    for name, size, packed in bundles():
        print(f"  {name:<28} {size / 1000:7.0f} kB  {packed / 1000:7.0f} kB gzipped")
    with lab_page() as (page, lab):
        panel = lab_sidebar(page, lab)
        panel.reason("Off")
        panel.ask("What is 1 + 1?")
        painted, server = first_paint(panel, lab)
        print(f"first token, median of {ROUNDS}")
        print(f"  click to paint {painted:.1f} ms, the server alone {server:.1f} ms: {painted - server:+.1f} ms")
        print(f"click on Stop to the engine's last token, {STOPS} times each")
        for times in stop_times(page, lab):
            print(f"  {times}")
    with lab_page() as (page, lab):
        page.add_init_script(FAKE_STREAM)
        per_update, longest = long_answer_cost(lab_sidebar(page, lab))
        print(f"scripting at the end of {TOKENS} tokens")
        print(f"  {per_update:.1f} ms per update, longest task {longest:.0f} ms")
    if beside:
        print(f"  {jupyter_chat_cost(beside.resolve()):.1f} ms per update in @jupyter/chat")


def bundles() -> Iterator[tuple[str, int, int]]:
    """Yields (name, bytes, gzipped bytes) for each bundle."""
    groups = {
        "labextension": sorted((PACKAGE / "labextension" / "static").glob("*.js")),
        "widget.js": [PACKAGE / "static" / "widget.js"],
        "widget.css": [PACKAGE / "static" / "widget.css"],
    }
    for name, files in groups.items():
        texts = [file.read_bytes() for file in files]
        yield name, sum(map(len, texts)), sum(len(gzip.compress(text)) for text in texts)


@contextmanager
def lab_page() -> Iterator[tuple[Page, RunningServer]]:
    """Start JupyterLab and a browser. Yields a page of the browser, and the server."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        settings = Path(folder) / "settings"
        settings.mkdir()
        with running_server(Path(folder), *lab_arguments(settings)) as lab:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 820})
            page.set_default_timeout(PATIENCE_MS)
            yield page, lab
            browser.close()


def first_paint(panel: Panel, lab: RunningServer) -> tuple[float, float]:
    """Two medians in milliseconds: from a click on Send to the first painted token, and of the server alone."""
    painted, server = [], []
    for number in range(ROUNDS):
        question = f"What is {number} + 1?"
        panel.button("New conversation").click()
        server.append(panel.page.evaluate(MEASURE_SERVER, [lab.url, lab.token, question]))
        panel.message.fill(question)
        panel.page.evaluate(WATCH_FIRST_PAINT)
        panel.button("Send").click()
        painted.append(panel.page.evaluate("window.firstPaint.then(moment => moment - window.clicked)"))
        panel.figures.wait_for()
    return statistics.median(painted), statistics.median(server)


def long_answer_cost(panel: Panel) -> tuple[float, float]:
    """Two times in milliseconds over the last updates: the mean scripting time of an update, and the longest task."""
    page = panel.page
    text = long_answer(TOKENS)
    page.evaluate(f"window.answer = {json.dumps({**text, 'updates': UPDATES})}")
    panel.send("write")
    page.wait_for_function("window.tail === 'ready'")
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable")
    before = scripting(client)
    page.evaluate(
        """() => {
            window.tasks = [];
            new PerformanceObserver(list => list.getEntries().forEach(entry => window.tasks.push(entry.duration)))
                .observe({ entryTypes: ['longtask'] });
            window.tail = 'go';
        }"""
    )
    page.wait_for_function("window.tail === 'done'")
    spent = scripting(client) - before
    return spent / UPDATES, max(page.evaluate("window.tasks"), default=0.0)


def jupyter_chat_cost(extension: Path) -> float:
    """The mean scripting time of an update in @jupyter/chat, at the end of the long answer, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "labextensions").mkdir()
        (Path(folder) / "labextensions" / "pico-jupyter-chat-benchmark").symlink_to(extension)
        os.environ["JUPYTER_PATH"] = folder
        with lab_page() as (page, lab):
            open_lab(page, lab)
            page.locator('[data-id="jupyter-chat"]').first.click()
            page.evaluate("answer => { window.answer = answer; }", long_answer(TOKENS))
            page.evaluate("window.jupyterChat.say(window.answer.head)")
            page.locator("#jupyter-chat h2").filter(has_text="Part 100").wait_for()
            client = page.context.new_cdp_session(page)
            client.send("Performance.enable")
            before = scripting(client)
            page.evaluate(GROW_JUPYTER_CHAT, UPDATES)
            return (scripting(client) - before) / UPDATES


def scripting(client: CDPSession) -> float:
    """Scripting time of the page so far, in milliseconds."""
    metrics = client.send("Performance.getMetrics")["metrics"]
    return 1000 * next(float(metric["value"]) for metric in metrics if metric["name"] == "ScriptDuration")


if __name__ == "__main__":
    main()
