"""Iterators over the pieces of an answer."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading

import pytest

from pico_jupyter.errors import EngineUnavailable
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.streams import AnswerStream, AsyncAnswerStream
from pico_jupyter.sources.background import BackgroundLoop, shared_loop
from pico_jupyter.sources.calls import AnswerRequest, FinishPiece, ReasoningPiece, TextPiece, Turn
from tests.e2e.running import wait_for
from tests.fakes.source import FakeSource

CALL = AnswerRequest("tiny", (Turn("user", "?"),))
PIECES = (ReasoningPiece("hm"), TextPiece("625"), FinishPiece("stop"))


async def complete(call: AnswerRequest) -> AnswerRequest:
    return call


def stream(source: FakeSource) -> AnswerStream:
    return AnswerStream(shared_loop(), source, Answer(CALL), complete)


def astream(source: FakeSource) -> AsyncAnswerStream:
    return AsyncAnswerStream(shared_loop(), source, Answer(CALL), complete)


def interrupt_once_it_waits(reader: int) -> None:
    """Send SIGINT to another thread, as the signal of a server may arrive."""
    wait_for(lambda: sys._current_frames()[reader].f_code is AnswerStream._wait.__code__)
    signal.raise_signal(signal.SIGINT)


def test_pieces_arrive_in_order_and_add_up() -> None:
    pieces = stream(FakeSource(*PIECES))
    assert tuple(pieces) == PIECES
    assert (pieces.answer.text, pieces.answer.finish_reason) == ("625", "stop")
    assert repr(pieces) == "<AnswerStream [stop]>"
    assert list(pieces) == [], "it has ended"


def test_a_missing_model_is_filled_in() -> None:
    async def choose(call: AnswerRequest) -> AnswerRequest:
        return AnswerRequest("chosen", call.messages)

    source = FakeSource(*PIECES)
    pieces = AnswerStream(shared_loop(), source, Answer(CALL), choose)
    list(pieces)
    assert source.calls[0].model == pieces.answer.model == "chosen"


def test_a_failure_is_raised_after_the_pieces_so_far() -> None:
    pieces = stream(FakeSource(TextPiece("6"), EngineUnavailable("gone")))
    with pytest.raises(EngineUnavailable, match="gone"):
        list(pieces)
    assert (pieces.answer.text, pieces.answer.finish_reason) == ("6", "failed")


def test_closing_stops_the_model_and_keeps_the_text_so_far() -> None:
    source = FakeSource(TextPiece("6"), ends=False)
    pieces = stream(source)
    next(pieces)
    pieces.close()
    wait_for(lambda: source.closed == 1)
    assert (pieces.answer.text, pieces.answer.finish_reason) == ("6", "stopped")
    assert list(pieces) == []


def test_dropping_a_stream_stops_the_model() -> None:
    source = FakeSource(TextPiece("6"), ends=False)
    for _ in stream(source):
        break
    gc.collect()
    wait_for(lambda: source.closed == 1)


def test_an_interrupt_stops_the_model() -> None:
    source = FakeSource(TextPiece("6"), ends=False)
    pieces = stream(source)
    next(pieces)
    threading.Thread(target=interrupt_once_it_waits, args=[threading.get_ident()]).start()
    with pytest.raises(KeyboardInterrupt):
        next(pieces)
    wait_for(lambda: source.closed == 1)
    assert pieces.answer.finish_reason == "stopped"


async def test_coroutines_get_the_same_pieces() -> None:
    pieces = astream(FakeSource(*PIECES))
    assert repr(pieces) == "<AsyncAnswerStream [streaming]>"
    assert tuple([piece async for piece in pieces]) == PIECES
    assert pieces.answer.text == "625"
    assert [piece async for piece in pieces] == []


async def test_a_failure_is_raised_in_coroutines() -> None:
    pieces = astream(FakeSource(EngineUnavailable("gone")))
    with pytest.raises(EngineUnavailable, match="gone"):
        await anext(pieces)
    assert pieces.answer.finish_reason == "failed"


async def test_cancelling_the_reader_stops_the_model() -> None:
    source = FakeSource(TextPiece("6"), ends=False)
    pieces = astream(source)
    await anext(pieces)
    reading = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.to_thread(wait_for, lambda: source.closed == 1)
    assert pieces.answer.finish_reason == "stopped"


async def test_closing_before_the_first_piece_sends_no_request() -> None:
    source = FakeSource(*PIECES)
    pieces = astream(source)
    await pieces.aclose()
    assert [piece async for piece in pieces] == []
    assert source.calls == []


def test_a_closed_loop_of_one_reader_does_not_disturb_others() -> None:
    loop, source = BackgroundLoop(), FakeSource(TextPiece("6"), ends=False)

    async def read_one() -> AsyncAnswerStream:
        pieces = AsyncAnswerStream(loop, source, Answer(CALL), complete)
        await anext(pieces)
        return pieces

    pieces = asyncio.run(read_one())
    del pieces
    gc.collect()
    wait_for(lambda: source.closed == 1)
    assert tuple(AnswerStream(loop, FakeSource(*PIECES), Answer(CALL), complete)) == PIECES
