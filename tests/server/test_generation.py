"""Answers, keep-alives, errors and aborts, which are the same in both dialects."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from datetime import UTC, datetime

import psutil
import pytest

from pico_jupyter.errors import (
    ContextLengthExceeded,
    EngineFailed,
    EngineUnavailable,
    ModelLoadFailed,
    OutOfMemory,
    PicoError,
    QueueFull,
)
from pico_jupyter.types import Progress, TextDelta
from tests.fakes.engine_client import ACCEPTED, ANSWER, FINISHED, ScriptedEngine, Step
from tests.server.conftest import RunningServer, StartServer, until
from tests.server.raw import raw_post

SECRET = "the patient's name is Rumpelstiltskin"
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": SECRET}]}
STREAMED = {**CHAT, "stream": True}
WHOLE = {**CHAT, "stream": False}


def plays(server: RunningServer, *script: Step) -> ScriptedEngine:
    server.engine.script = script
    return server.engine


def nodelay_of(server: RunningServer) -> int:
    """TCP_NODELAY of the server's end of the one connection that is open to it."""
    connections = psutil.Process().net_connections("tcp")
    [ours] = [c for c in connections if c.laddr.port == server.port and c.status == psutil.CONN_ESTABLISHED]
    with socket.socket(fileno=os.dup(ours.fd)) as end:
        return end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("body", [STREAMED, WHOLE], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ContextLengthExceeded("too long", param="messages"), 400),
        (QueueFull("busy", retry_after=7), 503),
        (EngineUnavailable("gone"), 503),
        (ModelLoadFailed("broken file"), 500),
        (EngineFailed("boom"), 500),
    ],
)
@pytest.mark.parametrize("accepted", [(), (ACCEPTED, Progress("prefill", 1, 2))], ids=["at once", "in prefill"])
async def test_a_failure_before_the_first_byte_is_a_status(
    server: RunningServer, body: object, error: PicoError, status: int, accepted: tuple[Step, ...]
) -> None:
    plays(server, *accepted, error)
    response = await server.post("v1/chat/completions", body)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["error"]["message"] == error.message


async def test_a_full_queue_sets_retry_after(server: RunningServer) -> None:
    plays(server, QueueFull("busy", retry_after=7))
    assert (await server.post("v1/chat/completions", CHAT)).headers["Retry-After"] == "7"


@pytest.mark.parametrize("error", [ModelLoadFailed("broken"), OutOfMemory("too big")])
async def test_a_permanent_failure_sets_x_should_retry_to_false(server: RunningServer, error: PicoError) -> None:
    plays(server, error)
    assert (await server.post("v1/chat/completions", CHAT)).headers["x-should-retry"] == "false"


async def test_a_failure_after_the_first_byte_is_a_frame(server: RunningServer) -> None:
    plays(server, ACCEPTED, TextDelta("4"), EngineFailed("boom"))
    response = await server.post("v1/chat/completions", STREAMED)
    assert response.status_code == 200
    *_, failure, done, rest = response.text.split("\n\n")
    assert json.loads(failure.removeprefix("data: "))["error"]["message"] == "boom"
    assert (done, rest) == ("data: [DONE]", "")


async def test_text_reaches_the_client_while_the_engine_generates_more(server: RunningServer) -> None:
    more = asyncio.Event()
    plays(server, ACCEPTED, TextDelta("4"), more, TextDelta("7"), FINISHED)
    async with raw_post(server, "v1/chat/completions", STREAMED) as request:
        assert b'"content":"4"' in await request.until(b'"content":"4"')
        more.set()
        assert b'"content":"7"' in await request.until(b"[DONE]")


async def test_a_stream_disables_nagles_algorithm(server: RunningServer) -> None:
    more = asyncio.Event()
    plays(server, ACCEPTED, TextDelta("4"), more, FINISHED)
    async with raw_post(server, "v1/chat/completions", STREAMED) as request:
        await request.until(b'"content":"4"')
        assert nodelay_of(server)
        more.set()
        await request.until(b"[DONE]")


async def test_a_silent_stream_gets_keepalives_with_the_progress(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"keepalive_after": 0.05})
    more = asyncio.Event()
    plays(server, ACCEPTED, Progress("prefill", 3, 9), more, TextDelta("47"), FINISHED)
    async with raw_post(server, "v1/chat/completions", STREAMED) as request:
        head = await request.until(b": keepalive 3/9\n\n")
        assert b"200 OK" in head
        await request.until(b": keepalive 3/9\n\n")
        more.set()
        assert b": keepalive" not in (await request.until(b"[DONE]")).partition(b'"content":"47"')[2]


async def test_a_stream_that_becomes_silent_gets_keepalives(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"keepalive_after": 0.05})
    more = asyncio.Event()
    plays(server, ACCEPTED, TextDelta("4"), more, FINISHED)
    async with raw_post(server, "v1/chat/completions", STREAMED) as request:
        await request.until(b'"content":"4"')
        await request.until(b": keepalive 0/0\n\n")
        more.set()
        await request.until(b"[DONE]")


async def test_the_first_keepalive_is_later_before_the_request_is_accepted(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"keepalive_after": 0.3})
    late = asyncio.Event()
    engine = plays(server, late, ContextLengthExceeded("too long"))
    queued = asyncio.ensure_future(server.post("v1/chat/completions", STREAMED))
    await asyncio.wait_for(engine.reached.wait(), 20)
    plays(server, ACCEPTED, asyncio.Event())
    async with raw_post(server, "v1/chat/completions", STREAMED) as accepted:
        await accepted.until(b": keepalive")  # the later request, which is accepted, already gets a keep-alive
        late.set()
        assert (await queued).status_code == 400


async def test_a_request_that_is_not_accepted_gets_keepalives_too(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"keepalive_after": 0.05})
    plays(server, asyncio.Event())
    async with raw_post(server, "v1/chat/completions", STREAMED) as request:
        await request.until(b": keepalive 0/0\n\n")
        await request.until(b": keepalive 0/0\n\n")


async def test_a_failure_after_a_keepalive_is_a_frame(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"keepalive_after": 0.05})
    more = asyncio.Event()
    plays(server, ACCEPTED, more, OutOfMemory("too big"))
    async with raw_post(server, "v1/chat/completions", STREAMED) as request:
        await request.until(b": keepalive")
        more.set()
        assert b'"message":"too big"' in await request.until(b"[DONE]")


@pytest.mark.parametrize(
    ("body", "script"),
    [
        (STREAMED, (ACCEPTED, TextDelta("4"), asyncio.Event())),
        (STREAMED, (ACCEPTED, asyncio.Event())),
        (STREAMED, (asyncio.Event(),)),
        (WHOLE, (ACCEPTED, TextDelta("4"), asyncio.Event())),
        (WHOLE, (asyncio.Event(),)),
    ],
    ids=["streaming", "streaming in prefill", "streaming queued", "whole", "whole queued"],
)
async def test_a_disconnect_aborts_the_request(
    server: RunningServer, body: object, script: tuple[Step, ...], caplog: pytest.LogCaptureFixture
) -> None:
    engine = plays(server, *script)
    async with raw_post(server, "v1/chat/completions", body):
        await asyncio.wait_for(engine.reached.wait(), 20)
    await asyncio.wait_for(engine.aborted.wait(), 20)
    engine.script = ANSWER
    assert (await server.post("v1/chat/completions", WHOLE)).status_code == 200
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    assert server.extension.context.running == 0


async def test_a_disconnect_of_a_client_that_does_not_read_aborts_the_request(server: RunningServer) -> None:
    engine = plays(server, ACCEPTED, *[TextDelta("x" * 100_000)] * 400, asyncio.Event())
    async with raw_post(server, "v1/chat/completions", STREAMED) as request:
        await request.until(b"xxx")
    await asyncio.wait_for(engine.aborted.wait(), 20)


async def test_a_disconnect_in_the_middle_of_a_body_starts_no_request(server: RunningServer) -> None:
    async with raw_post(server, "v1/chat/completions", CHAT, length=100_000):
        pass
    assert (await server.post("v1/chat/completions", CHAT)).status_code == 200
    assert len(server.engine.requests) == 1


async def test_requests_run_side_by_side(server: RunningServer) -> None:
    more = asyncio.Event()
    plays(server, ACCEPTED, more, TextDelta("47"), FINISHED)
    answers = [asyncio.ensure_future(server.post("v1/chat/completions", CHAT)) for _ in range(3)]
    await asyncio.wait_for(server.engine.reached.wait(), 20)
    await until(lambda: server.extension.context.running == 3)
    assert server.extension.current_activity()
    more.set()
    assert [(await answer).status_code for answer in answers] == [200] * 3
    assert not server.extension.current_activity()
    assert len({request.id for request in server.engine.requests}) == 3


async def test_a_generation_counts_as_activity_of_the_server(server: RunningServer) -> None:
    before = datetime.now(UTC)
    await server.post("v1/chat/completions", STREAMED)
    assert server.app.web_app.settings["last_activity_times"]["pico"] > before
    assert server.app.web_app.last_activity() > before


@pytest.mark.parametrize("body", [STREAMED, WHOLE], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    "script",
    [
        (RuntimeError(SECRET),),
        (ACCEPTED, TextDelta(SECRET), ValueError(SECRET)),
        (EngineFailed(SECRET),),
        (ContextLengthExceeded(SECRET),),
        (ACCEPTED, TextDelta(SECRET), FINISHED),
    ],
    ids=["unexpected", "unexpected late", "engine", "refused", "answered"],
)
async def test_no_text_of_a_prompt_or_an_answer_is_logged(
    server: RunningServer, body: object, script: tuple[Step, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, server.app.log.name)
    plays(server, *script)
    response = await server.post("v1/chat/completions", body)
    assert f"{response.status_code} POST /v1/chat/completions" in caplog.text, "the server's log has the request"
    assert "Rumpelstiltskin" not in caplog.text


async def test_an_unexpected_failure_is_a_generic_500_and_a_traceback_in_the_log(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    plays(server, RuntimeError(SECRET))
    response = await server.post("v1/chat/completions", CHAT)
    assert response.status_code == 500
    assert response.json()["error"] == {
        "message": "internal server error",
        "type": "server_error",
        "param": None,
        "code": None,
    }
    assert "RuntimeError" in caplog.text
    assert "engine_client.py" in caplog.text


async def test_a_refused_request_logs_no_traceback(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    response = await server.post("v1/chat/completions", {"model": "tiny", "messages": []})
    assert response.status_code == 400
    assert "400 POST /v1/chat/completions" in caplog.text
    assert "Traceback" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


async def test_unknown_options_are_named_in_the_log(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    response = await server.post("v1/chat/completions", {**CHAT, "options": {"warp": 9}})
    assert response.status_code == 200
    assert "unknown options ignored: 'warp'" in caplog.text


async def test_a_large_body_is_parsed(server: RunningServer) -> None:
    long = "x" * 200_000
    await server.post("v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": long}]})
    assert long in repr(server.engine.requests[0].prompt)
