"""The magics and the connection in a real ipykernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.running import RunningServer, wait_for
from tests.notebook.kernels import Message, RunningKernel, running_kernel

LONG = "Repeat after me: " + "a b c d e f g h " * 30
# A call displays nothing before its end, so another thread prints that it has begun.
TELLS_WHEN_BEGUN = """\
import threading, time, pico_jupyter
pico = pico_jupyter.connect()
def tell_when_begun(before):
    def tell():
        while pico.last is before or not pico.last.has_begun:
            time.sleep(0.01)
        print("begun", flush=True)
    threading.Thread(target=tell).start()
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[RunningKernel]:
    with running_kernel() as running:
        assert running.run("%load_ext pico_jupyter") == []
        yield running


def kinds(messages: list[Message]) -> list[str]:
    return [message["msg_type"] for message in messages]


def data(message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = message["content"]["data"]
    return shown


def printed(messages: list[Message]) -> str:
    return "".join(message["content"]["text"] for message in messages if message["msg_type"] == "stream")


def test_a_growing_output_ends_like_the_output_of_a_program(kernel: RunningKernel) -> None:
    question = "%%chat --new --temperature 0 -r on\nWhat is 348 + 277?"
    live = kernel.run(question, cell="a")
    whole = kernel.run(question, allow_stdin=False)
    assert kinds(live)[0] == "display_data"
    assert set(kinds(live)[1:]) == {"update_display_data"}
    assert kinds(whole) == ["display_data"]
    assert data(whole[0])["text/plain"] == "348 + 277 = 625"
    assert data(whole[0])["text/markdown"].startswith("<details><summary>Thinking</summary>")
    assert data(live[-1]) == data(whole[0])
    assert live[-1]["content"]["metadata"] == whole[0]["content"]["metadata"]


def test_a_console_gets_text(kernel: RunningKernel) -> None:
    messages = kernel.run("%chat --new --temperature 0 -r on What is 12 + 35?")
    assert set(kinds(messages)) == {"stream"}
    assert printed(messages).startswith("\x1b[2m")
    assert printed(messages).endswith("\x1b[0m\n\n12 + 35 = 47\n")


def test_a_cell_that_runs_again_continues_from_its_first_run(kernel: RunningKernel) -> None:
    kernel.run("%chat --new -r off My name is Ada.", cell="a")
    for _ in range(2):
        kernel.run("%chat -r off --into second What is my name?", cell="b")
    roles = kernel.run("print([message['role'] for message in second.messages])")
    assert printed(roles) == "['user', 'assistant', 'user', 'assistant']\n"


def test_an_answer_is_shown_as_markdown(kernel: RunningKernel) -> None:
    kernel.run("import pico_jupyter\npico = pico_jupyter.connect()")
    (result,) = kernel.run("pico.chat('What is 12 + 35?', temperature=0, reasoning=False)")
    assert result["msg_type"] == "execute_result"
    assert data(result) == {"text/markdown": data(result)["text/plain"], "text/plain": data(result)["text/plain"]}
    (models,) = kernel.run("%pico models")
    assert data(models)["text/markdown"].startswith("| model |")


def interrupted(kernel: RunningKernel, code: str, cell: str = "") -> list[Message]:
    """Run `code` and interrupt it at its first text."""
    pending = [kernel.manager.interrupt_kernel]

    def interrupt(message: Message) -> None:
        if pending and not message["content"].get("data", {}).get("text/plain", "").startswith("getting ready"):
            pending.pop()()

    return kernel.run(code, cell=cell, on_message=interrupt)


def test_an_interrupt_stops_the_model_and_keeps_the_text_so_far(kernel: RunningKernel) -> None:
    messages = interrupted(kernel, f"%%chat --new -r off\n{LONG}", cell="a")
    assert messages[-1]["msg_type"] == "error"
    assert messages[-1]["content"]["traceback"] == ["KeyboardInterrupt: stopped"]
    assert data(messages[-2])["text/markdown"].endswith("*Stopped.*")
    facts = printed(kernel.run("print(answer.finish_reason, len(answer.text) > 0)"))
    assert facts == "stopped True\n"
    assert printed(kernel.run("%chat --new --temperature 0 What is 12 + 35?")).endswith("12 + 35 = 47\n")


def test_an_interrupted_call_leaves_its_text_in_last(kernel: RunningKernel) -> None:
    kernel.run(TELLS_WHEN_BEGUN)
    messages = interrupted(kernel, f"tell_when_begun(pico.last)\npico.chat({LONG!r}, reasoning=False)")
    assert messages[-1]["content"]["ename"] == "KeyboardInterrupt"
    assert printed(kernel.run("print(pico.last.finish_reason, len(pico.last.text) > 0)")) == "stopped True\n"


def test_a_kernel_of_a_server_uses_that_server(own_server: RunningServer) -> None:
    # A kernel finds its server by its parent process, which is this test here.
    with running_kernel({"PICO_JUPYTER_URL": own_server.url, "PICO_JUPYTER_TOKEN": own_server.token}) as kernel:
        kernel.run("%load_ext pico_jupyter")
        assert "the Jupyter server at 127.0.0.1\n" in printed(kernel.run("%pico"))
        messages = kernel.run("%chat --temperature 0 What is 12 + 35?", allow_stdin=False)
        assert data(messages[0])["text/plain"] == "12 + 35 = 47"
        interrupted(kernel, f"%%chat -r off\n{LONG}", cell="a")
        with own_server.http() as client:
            wait_for(lambda: 'outcome="aborted"' in client.get("metrics").text)
        shown = printed(kernel.run("%pico")) + printed(kernel.run("print(answer, answer.request)"))
        assert "the Jupyter server at 127.0.0.1\n" in shown
        assert "Repeat after me" in shown
        assert own_server.token not in shown
