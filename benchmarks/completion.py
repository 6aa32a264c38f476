"""Measures inline completion in a real browser (R5): the time to the first ghost text, and from an abort to the engine.

`python -m benchmarks.completion FOLDER`: the folder of a model with the capability insert. A ratio to the model's own
time to the first token is printed, because the times depend on the machine.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.conftest import CHROMIUM, PATIENCE_MS, lab_arguments
from tests.browser.engines import server_statistics, wait_until_idle
from tests.browser.panels import open_notebook
from tests.e2e.running import RunningServer, running_server

ROUNDS = 10
GHOST = ".jp-GhostText"
# Records when a completion is requested, when its first text is painted, and when it is aborted.
WATCH = """(() => {
    const send = window.fetch;
    window.fetch = (input, init) => {
        const url = input.url ?? String(input);
        if (url.includes('v1/completions')) {
            window.requested = performance.now();
            window.painted = null;
            const signal = init?.signal ?? input.signal;
            signal?.addEventListener('abort', () => { window.abortedAt = Date.now() / 1000; });
        }
        return send(input, init);
    };
    new MutationObserver(() => {
        if (window.painted === null && document.querySelector('.jp-GhostText')?.textContent) {
            requestAnimationFrame(() => setTimeout(() => { window.painted ??= performance.now(); }));
        }
    }).observe(document, { subtree: true, childList: true, characterData: true });
})()"""
# The same request without JupyterLab: the time to the first event with text.
FIRST_TOKEN = """async ([url, token, body]) => {
    const start = performance.now();
    const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
    const response = await fetch(url + 'pico/v1/completions', { method: 'POST', headers, body });
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let text = '';
    while (!/"text": ?"[^"]/.test(text)) text += decoder.decode((await reader.read()).value, { stream: true });
    const first = performance.now() - start;
    await reader.cancel();
    return first;
}"""


def main(model: Path) -> None:
    """Print the figures of a model."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        arguments = [*lab_arguments(Path(folder)), f"--PicoJupyter.model_dirs={model.parent}"]
        with running_server(Path(folder), *arguments) as lab:
            with lab.http() as http:
                http.post("api/generate", json={"model": model.name}, timeout=300).raise_for_status()
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.set_default_timeout(PATIENCE_MS)
            # Before the page loads: JupyterLab keeps its own reference to fetch.
            page.add_init_script(WATCH)
            _measure(page, lab, model.name)
            browser.close()


def _measure(page: Page, lab: RunningServer, name: str) -> None:
    open_notebook(page, lab, "completion.ipynb", "").first.locator(".cm-content").click()
    expect(page.locator(".jp-StatusBar-TextItem").filter(has_text=f"Completion: {name}")).to_be_visible()
    own, shown, aborts = [], [], []
    for number in range(ROUNDS):
        body = {"model": name, "stream": True, "temperature": 0, "max_tokens": 64, "suffix": "\n"}
        body["prompt"] = _code(f"own{number}") + "r"
        own.append(page.evaluate(FIRST_TOKEN, [lab.url, lab.token, json.dumps(body)]))
        before = server_statistics(lab)().decoded_tokens
        shown.append(_first_ghost(page, _code(f"ghost{number}")))
        page.evaluate("window.jupyterapp.commands.execute('pico:toggle-completion')")
        ended = wait_until_idle(server_statistics(lab), before)
        if aborted := page.evaluate("window.abortedAt"):
            aborts.append(max(0.0, 1000 * (ended.decoded_at - aborted)))
        page.evaluate("window.abortedAt = null")
        page.evaluate("window.jupyterapp.commands.execute('pico:toggle-completion')")
    first, ghost = statistics.median(own), statistics.median(shown)
    print(f"the model's first token {first:.0f} ms; first ghost text {ghost:.0f} ms; ratio {ghost / first:.2f}")
    print(f"abort to the last token: median {statistics.median(aborts):.0f} ms, slowest {max(aborts):.0f} ms")


def _code(name: str) -> str:
    return f"def {name}(items):\n    total = 0\n    for item in items:\n        total += item\n    "


def _first_ghost(page: Page, source: str) -> float:
    """The milliseconds from the end of the debounce, when the request is sent, to the first painted text."""
    page.evaluate("window.painted = undefined")
    page.evaluate(
        """source => {
            const { activeCell } = window.jupyterapp.shell.currentWidget.content;
            activeCell.model.sharedModel.setSource(source);
            activeCell.editor.setCursorPosition(activeCell.editor.getPositionAt(source.length));
        }""",
        source,
    )
    page.keyboard.type("r")
    page.wait_for_function("window.painted > window.requested")
    return float(page.evaluate("window.painted - window.requested"))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
