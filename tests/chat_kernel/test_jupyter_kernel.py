"""The chat kernel in its own process, with the built-in models, with a Jupyter server and without one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.chat_kernel.talking import LONG, SessionKernel, Talk, kernel_alone, kernel_of
from tests.e2e.running import RunningServer, wait_for

SUM = "%reasoning on\nWhat is 348 + 277?"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    with kernel_alone(tmp_path_factory.mktemp("alone")) as (_, talk):
        yield talk


@pytest.fixture
def notebook(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[SessionKernel]:
    with kernel_of(server, f"{request.node.name}.ipynb") as kernel:
        yield kernel


def folder_of(server: RunningServer) -> Path:
    return server.log.parent


def draw_circle(file: Path) -> None:
    picture = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(picture).ellipse((50, 50, 150, 150), fill="red")
    picture.save(file)


def test_an_answer_grows_below_its_cell(notebook: SessionKernel) -> None:
    ran = notebook.run(SUM, "one")
    assert ran.kinds[0] == "display_data"
    assert set(ran.kinds[1:]) == {"update_display_data"}
    assert ran.answer == "348 + 277 = 625"
    assert ran.reply["status"] == "ok"


def test_a_cell_continues_the_cells_above(notebook: SessionKernel) -> None:
    notebook.run("My name is Maria.", "one")
    assert "Maria" in notebook.run("What is my name?", "two").answer


def test_a_cell_that_runs_again_replaces_its_answer(notebook: SessionKernel) -> None:
    notebook.run("My name is Maria.", "one")
    notebook.run("What is my name?", "two")
    notebook.run("My name is Peter.", "one")
    assert "Peter" in notebook.run("What is my name?", "two").answer


def test_interrupting_keeps_the_text_so_far_and_ends_run_all(notebook: SessionKernel) -> None:
    long = notebook.begin(LONG, "one")
    behind = notebook.begin("What is 1 + 1?", "two")
    notebook.wait_for_text(long)
    notebook.interrupt()
    ran = notebook.end(long)
    assert ran.reply["status"] == "error"
    assert ran.reply["ename"] == "KeyboardInterrupt"
    assert "topped" in ran.output["data"]["text/markdown"]
    assert ran.answer
    assert "error" not in ran.kinds
    assert notebook.end(behind).reply["status"] == "aborted"
    assert notebook.run("What is 1 + 1?", "three").reply["status"] == "ok"


def test_the_model_stops_when_the_kernel_is_interrupted(notebook: SessionKernel, server: RunningServer) -> None:
    request = notebook.begin(LONG, "one")
    notebook.wait_for_text(request)
    with server.http() as http:
        assert "pico_jupyter_requests_running 1.0" in http.get("metrics").text
        notebook.interrupt()
        notebook.end(request)
        assert "pico_jupyter_requests_running 0.0" in http.get("metrics").text


def test_a_kernel_that_starts_again_reads_the_notebook(notebook: SessionKernel, server: RunningServer) -> None:
    ran = notebook.run("My name is Maria.", "one")
    output = {"output_type": "display_data", "data": ran.output["data"], "metadata": ran.output["metadata"]}
    cell = {"id": "one", "cell_type": "code", "source": "My name is Maria.", "metadata": {}}
    saved = {**cell, "execution_count": 1, "outputs": [output]}
    file = folder_of(server) / "test_a_kernel_that_starts_again_reads_the_notebook.ipynb"
    file.write_text(json.dumps({"cells": [saved], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    notebook.restart()
    assert "Maria" in notebook.run("What is my name?", "two").answer


def test_an_image_is_sent_with_the_prompt(notebook: SessionKernel, server: RunningServer) -> None:
    draw_circle(folder_of(server) / "circle.png")
    ran = notebook.run("%image circle.png\nWhat is in the picture?", "one")
    assert "red circle" in ran.answer
    assert "red" in notebook.run("![](circle.png) What color is the circle?", "two").answer


def test_an_error_is_one_line(notebook: SessionKernel) -> None:
    assert notebook.run("%model pico-tinny", "one").error.startswith("there is no model 'pico-tinny'. Did you mean")
    assert notebook.run("%speed 3\nhello", "one").error.startswith("there is no %speed. The magics are %model,")
    assert notebook.run("%image none.png\nhello", "one").error == "cannot read 'none.png': No such file or directory"


def test_images_need_a_model_with_vision(notebook: SessionKernel, server: RunningServer) -> None:
    draw_circle(folder_of(server) / "circle.png")
    assert "pico-tiny" in notebook.run("%model pico-tiny\n%image circle.png\nWhat is this?", "one").error
    notebook.run("%model pico-tiny-vl\n%image circle.png\nWhat is this?", "one")
    above = notebook.run("%model pico-tiny\nhello", "two").error
    assert above.startswith("pico-tiny does not accept the images of the cells above")


def test_a_prompt_that_is_too_long_is_refused(notebook: SessionKernel) -> None:
    assert notebook.run("a b c d " * 4000, "one").error.endswith("the context holds 4096 with the answer")
    notebook.run("hello", "one")
    assert notebook.run("a b c d " * 4000, "two").error.endswith("; %new starts a new conversation")


def test_model_kernels_that_die_are_reported_in_one_line(own_server: RunningServer) -> None:
    with kernel_of(own_server, "dies.ipynb") as notebook:
        request = notebook.begin(LONG, "one")
        notebook.wait_for_text(request)
        with own_server.killing_kernels():
            ran = notebook.end(request)
        assert "the model kernel" in ran.error
        assert ran.answer
        assert notebook.run("What is 1 + 1?", "two").reply["status"] == "ok"


def test_shutting_the_kernel_down_stops_the_model(own_server: RunningServer) -> None:
    with kernel_of(own_server, "shut.ipynb") as notebook:
        request = notebook.begin(LONG, "one")
        notebook.wait_for_text(request)
        with own_server.http() as http:
            assert "pico_jupyter_requests_running 1.0" in http.get("metrics").text
    with own_server.http() as http:
        wait_for(lambda: "pico_jupyter_requests_running 0.0" in http.get("metrics").text)


def test_a_cell_of_magics_prints_the_settings(alone: Talk) -> None:
    ran = alone.run("%reasoning off\n%temperature 0\n%system Be brief.", "set")
    text = ran.output["data"]["text/plain"]
    assert all(part in text for part in ("reasoning: off", "temperature: 0", "Be brief."))
    alone.run("%reasoning default\n%temperature default\n%system", "set")


def test_a_terminal_gets_plain_text_during_generation(alone: Talk) -> None:
    ran = alone.run(SUM)
    assert set(ran.kinds) == {"stream"}
    assert "348 + 277 = 625" in ran.printed
    assert "<" not in ran.printed


def test_a_program_gets_an_answer_as_one_output(alone: Talk) -> None:
    ran = alone.run(SUM, has_user=False, store_history=False)
    assert ran.kinds == ["display_data"]
    assert ran.answer == "348 + 277 = 625"


def test_without_cell_ids_earlier_runs_are_continued(alone: Talk) -> None:
    alone.run("%new\nMy name is Maria.", has_user=False, store_history=False)
    assert "Maria" in alone.run("What is my name?", has_user=False, store_history=False).answer
    assert "Maria" not in alone.run("%new\nWhat is my name?", has_user=False, store_history=False).answer


def test_a_silent_cell_has_no_output_and_is_not_counted(alone: Talk) -> None:
    count = alone.run("%help").reply["execution_count"]
    ran = alone.run("What is 1 + 1?", silent=True)
    assert (ran.kinds, ran.reply["status"], ran.reply["execution_count"]) == ([], "ok", count)


def test_expressions_are_refused_one_by_one(alone: Talk) -> None:
    reply = alone.run("%help", user_expressions={"one": "1 + 1"}).reply
    assert reply["status"] == "ok"
    assert reply["user_expressions"]["one"]["ename"] == "NotSupported"


def test_after_an_error_the_queue_continues_on_request(alone: Talk) -> None:
    wrong = alone.begin("%nothing", stop_on_error=False)
    behind = alone.begin("%help")
    assert alone.end(wrong).reply["status"] == "error"
    assert alone.end(behind).reply["status"] == "ok"


def test_kernel_info_describes_the_kernel(alone: Talk) -> None:
    info = alone.ask("kernel_info")
    assert info["language_info"]["name"] == "markdown"
    assert info["implementation"] == "pico_jupyter"
    assert "%help" in info["banner"]


def test_magics_models_and_paths_are_completed(alone: Talk) -> None:
    assert alone.ask("complete", code="%rea", cursor_pos=4)["matches"] == ["%reasoning"]
    found = alone.ask("complete", code="%model pico-tiny-", cursor_pos=17)
    assert (found["matches"], found["cursor_start"], found["cursor_end"]) == (["pico-tiny-vl"], 7, 17)


def test_a_model_can_be_inspected(alone: Talk) -> None:
    found = alone.ask("inspect", code="%model pico-tiny-vl", cursor_pos=9, detail_level=0)
    assert found["found"]
    assert "vision" in found["data"]["text/plain"]
    assert not alone.ask("inspect", code="hello", cursor_pos=2, detail_level=0)["found"]


def test_open_code_is_not_complete(alone: Talk) -> None:
    assert alone.ask("is_complete", code="Why?")["status"] == "complete"
    assert alone.ask("is_complete", code="What is this?\n```python")["status"] == "incomplete"
    assert alone.ask("is_complete", code="one \\")["status"] == "incomplete"


def test_history_returns_earlier_prompts(alone: Talk) -> None:
    alone.run("%help")
    history = alone.ask("history", hist_access_type="tail", output=False, raw=True, n=1)["history"]
    assert history[0][2] == "%help"
    found = alone.ask("history", hist_access_type="search", output=False, raw=True, pattern="%he*", unique=True)
    assert [entry[2] for entry in found["history"]] == ["%help"]


def test_there_are_no_comms(alone: Talk) -> None:
    assert alone.ask("comm_info") == {"status": "ok", "comms": {}}


def test_a_kernel_alone_can_be_interrupted(tmp_path: Path) -> None:
    with kernel_alone(tmp_path) as (manager, talk):
        request = talk.begin(LONG)
        talk.wait_for_text(request)
        manager.interrupt_kernel()
        assert talk.end(request).reply["ename"] == "KeyboardInterrupt"


class NoPico(BaseHTTPRequestHandler):
    """Answers everything with an empty object."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


def test_an_unexpected_exception_gets_a_reply(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), NoPico) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        with kernel_alone(tmp_path, PICO_JUPYTER_URL=f"http://127.0.0.1:{stranger.server_port}/") as (_, talk):
            ran = talk.run("secret words")
            assert ran.error == "the kernel failed; see the log of the Jupyter server"
            assert ran.reply["status"] == "error"
            assert talk.run("%help").reply["status"] == "ok"
        stranger.shutdown()
