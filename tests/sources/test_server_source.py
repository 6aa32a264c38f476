"""Answers of the Jupyter server that a kernel belongs to."""

from __future__ import annotations

import ssl

import pytest

from pico_jupyter.errors import EngineUnavailable, ModelNotFound, PicoError
from pico_jupyter.sources.calls import AnswerRequest, FinishPiece, ReasoningPiece, TextPiece, Turn, UsagePiece
from pico_jupyter.sources.server_address import ServerAddress
from pico_jupyter.sources.server_source import ServerSource, _body, _tls_context
from tests.e2e.running import RunningServer, wait_for


def source(server: RunningServer) -> ServerSource:
    return ServerSource(ServerAddress(server.url, server.token))


async def test_reasoning_and_text_are_separate_pieces(server: RunningServer) -> None:
    call = AnswerRequest("pico-tiny", (Turn("user", "What is 348 + 277?"),), "on")
    pieces = [piece async for piece in source(server).chat(call)]
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextPiece)) == "348 + 277 = 625"
    assert any(isinstance(piece, ReasoningPiece) for piece in pieces)
    assert isinstance(pieces[-2], FinishPiece)
    assert isinstance(pieces[-1], UsagePiece)


def test_a_schema_becomes_a_response_format() -> None:
    body = _body(AnswerRequest("tiny", (Turn("user", "hi"),), schema='{"type":"object"}'))
    holder = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": holder}
    assert "response_format" not in _body(AnswerRequest("tiny", (Turn("user", "hi"),)))


async def test_closing_the_iterator_aborts_the_request(own_server: RunningServer) -> None:
    question = "Repeat after me: " + "a b c d e f g h " * 30
    pieces = source(own_server).chat(AnswerRequest("pico-tiny", (Turn("user", question),), "off"))
    await anext(pieces)
    await pieces.aclose()
    with own_server.http() as client:
        wait_for(lambda: 'outcome="aborted"' in client.get("metrics").text)


async def test_an_error_keeps_the_message_of_the_server(server: RunningServer) -> None:
    with pytest.raises(PicoError, match="'absent' does not exist"):
        _ = [piece async for piece in source(server).chat(AnswerRequest("absent", (Turn("user", "hi"),)))]


async def test_models_are_listed(server: RunningServer) -> None:
    models = {model.name: model for model in await source(server).models()}
    assert models["pico-tiny"].context > 0


async def test_the_memory_report_is_that_of_the_server(server: RunningServer) -> None:
    report = await source(server).memory()
    assert report.budget > 0
    assert "pico-tiny" in [need.model for need in report.needs]


def test_a_server_without_pico_jupyter_does_not_answer(server: RunningServer) -> None:
    assert source(server).answers()
    assert not ServerSource(ServerAddress(server.url + "elsewhere/", server.token)).answers()
    assert not ServerSource(ServerAddress("http://127.0.0.1:9/", "")).answers()


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("localhost", ssl.CERT_NONE),
        ("127.0.0.1", ssl.CERT_NONE),
        ("::1", ssl.CERT_NONE),
        ("127.example.com", ssl.CERT_REQUIRED),
        ("10.0.0.1", ssl.CERT_REQUIRED),
    ],
)
def test_certificates_are_verified_except_on_loopback(host: str, mode: ssl.VerifyMode) -> None:
    assert _tls_context(host).verify_mode == mode


async def test_an_incomplete_answer_raises_engine_unavailable(own_server: RunningServer) -> None:
    question = "Repeat after me: " + "a b c d e f g h " * 30
    pieces = source(own_server).chat(AnswerRequest("pico-tiny", (Turn("user", question),), "off"))
    await anext(pieces)
    own_server.process.kill()
    with pytest.raises(EngineUnavailable):
        _ = [piece async for piece in pieces]


async def test_a_model_is_loaded_and_unloaded(own_server: RunningServer) -> None:
    async def resident() -> int | None:
        return {model.name: model.resident for model in await source(own_server).models()}["pico-tiny"]

    await source(own_server).load("pico-tiny")
    assert await resident() is not None
    await source(own_server).unload("pico-tiny")
    assert await resident() is None
    with pytest.raises(ModelNotFound, match="'absent' not found"):
        await source(own_server).load("absent")
