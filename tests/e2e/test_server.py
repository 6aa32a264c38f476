"""A real Jupyter server: requests of curl, unusual base URLs, and crashes of the model kernel."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.e2e.running import RunningServer, running_server, wait_for

SUM = [{"role": "user", "content": "What is 12 + 35?"}]
LONG_SUM = [{"role": "user", "content": "What is 4821 + 3977?"}]


def test_the_endpoints_work_below_a_base_url_that_needs_quoting(tmp_path: Path) -> None:
    with running_server(tmp_path, "--ServerApp.base_url=/a%40b/") as server, server.http() as http:
        assert server.url.endswith("/a%40b/")
        answer = http.post("v1/chat/completions", json={"model": "pico-tiny", "messages": SUM})
        assert "47" in answer.json()["choices"][0]["message"]["content"]
        assert http.post("pico/api/generate/", json={"model": "pico-tiny"}).json()["done_reason"] == "load"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_the_body_is_json_for_any_content_type(server: RunningServer, content_type: str) -> None:
    """curl -d sends a form's content type. A form parser would read `token=zzz` as the client's credentials."""
    body = json.dumps({"model": "pico-tiny", "messages": [{"role": "system", "content": "a&token=zzz&b="}, *SUM]})
    headers = {**server.headers, **({"Content-Type": content_type} if content_type else {})}
    answer = httpx.post(server.url + "v1/chat/completions", content=body.encode(), headers=headers, timeout=60)
    assert answer.request.headers.get("Content-Type", "") == content_type
    assert answer.status_code == 200
    assert "47" in answer.json()["choices"][0]["message"]["content"]


def test_a_path_of_the_old_api_streams_by_default(server: RunningServer) -> None:
    with server.http() as http:
        answer = http.post("v1/chat", json={"model": "pico-tiny", "messages": SUM})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")


def test_a_killed_model_kernel_affects_nothing_not_even_its_streams(own_server: RunningServer) -> None:
    with own_server.http() as http:
        notebook = http.post("api/kernels", json={"name": "python3"}).json()["id"]
        http.post("api/chat", json={"model": "pico-tiny", "messages": SUM, "stream": False})
        [kernel] = own_server.model_kernels()
        with http.stream("POST", "api/chat", json={"model": "pico-tiny", "messages": LONG_SUM}) as response:
            lines = response.iter_lines()
            frames = [json.loads(next(lines))]
            kernel.kill()
            frames += [json.loads(line) for line in lines]
        assert frames[0]["done"] is False
        assert frames[-1]["done"] is True
        answer = http.post("api/chat", json={"model": "pico-tiny", "messages": SUM, "stream": False})
        assert "47" in answer.json()["message"]["content"]
        [survivor] = http.get("api/kernels").json()
        assert survivor["id"] == notebook
        assert survivor["execution_state"] != "dead"


def test_a_model_kernel_that_is_killed_again_and_again_is_an_error_frame(own_server: RunningServer) -> None:
    body = {
        "model": "pico-tiny",
        "messages": SUM,
        "stream": True,
        "temperature": 2.0,
        "logit_bias": {"2": -100, "0": -100},
    }
    with own_server.http() as http:
        with http.stream("POST", "v1/chat/completions", json=body) as response:
            lines = (line for line in response.iter_lines() if line.startswith("data:"))
            next(lines)
            with own_server.killing_kernels():
                *_, error, done = lines
        assert json.loads(error.removeprefix("data: "))["error"]["type"] == "server_error"
        assert done == "data: [DONE]"


def test_the_model_kernel_ends_with_its_server(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        with server.http() as http:
            http.get("v1/models").raise_for_status()
        [kernel] = server.model_kernels()
    wait_for(lambda: not kernel.is_running())


def test_no_prompt_is_ever_logged(tmp_path: Path) -> None:
    secret = "xyzzy-plugh-4711"
    chat = {"model": "pico-tiny", "messages": [{"role": "user", "content": secret}]}
    with running_server(tmp_path, "--debug") as server, server.http() as http:
        answered = http.post("api/chat", json={**chat, "stream": False, "options": {"warp": 9}})
        refused = http.post("v1/chat/completions", json={**chat, "temperature": 9})
        broken = http.post("v1/chat", content=f'{{"messages": "{secret}')
        assert [answered.status_code, refused.status_code, broken.status_code] == [200, 400, 400]
        # Each of the three requests is in the log, the last one a moment after its answer.
        logged = ("unknown options ignored: 'warp'", "400 POST /v1/chat/completions", "400 POST /v1/chat (")
        wait_for(lambda: all(line in server.log.read_text() for line in logged))
        assert secret not in server.log.read_text()
