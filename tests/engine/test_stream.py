"""Deltas between the engine thread and event loops."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.engine.stream import DeltaDispatcher, EngineStream
from pico_jupyter.errors import EngineFailed
from pico_jupyter.types import Accepted, Finished, TextDelta, Timings, TokenUsage

FINISHED = Finished(("stop",), TokenUsage(1, 1), Timings(1, 0, 0, 0))


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts the calls from other threads."""

    wakes = 0

    def call_soon_threadsafe(self, *arguments, **options):  # type: ignore[no-untyped-def]  # passes through
        self.wakes += 1
        return super().call_soon_threadsafe(*arguments, **options)


def none_lost(stream: EngineStream) -> None:
    raise AssertionError(f"lost {stream!r}")


def engine_stream(dispatcher: DeltaDispatcher, loop: asyncio.AbstractEventLoop | None = None) -> EngineStream:
    return EngineStream(DeltaStream(), loop or asyncio.get_running_loop(), dispatcher)


async def test_deltas_arrive_in_order() -> None:
    dispatcher = DeltaDispatcher()
    stream = engine_stream(dispatcher)
    sent = [Accepted("m", 1, False), TextDelta("a"), TextDelta("b"), FINISHED]
    for delta in sent:
        stream.put(delta)
        dispatcher.flush(none_lost)
    assert [delta async for delta in stream.deltas] == sent


async def test_nothing_arrives_before_the_hand_over() -> None:
    dispatcher = DeltaDispatcher()
    stream = engine_stream(dispatcher)
    stream.put(TextDelta("a"))
    await asyncio.sleep(0)
    assert repr(stream) == "<EngineStream <DeltaStream open [0 unread]>>"
    assert repr(dispatcher) == "<DeltaDispatcher [1 streams]>"
    dispatcher.flush(none_lost)
    await asyncio.sleep(0)
    assert repr(stream) == "<EngineStream <DeltaStream open [1 unread]>>"


async def test_an_error_arrives_after_the_deltas_before_it() -> None:
    dispatcher = DeltaDispatcher()
    stream = engine_stream(dispatcher)
    stream.put(TextDelta("a"))
    stream.fail(EngineFailed("broken"))
    dispatcher.flush(none_lost)
    assert await anext(stream.deltas) == TextDelta("a")
    with pytest.raises(EngineFailed, match="broken"):
        await anext(stream.deltas)


def test_one_turn_wakes_a_loop_once_for_all_its_streams() -> None:
    loop = CountingLoop()
    dispatcher = DeltaDispatcher()
    streams = [engine_stream(dispatcher, loop) for _ in range(5)]
    for stream in streams:
        stream.put(Accepted("m", 1, False))
        stream.put(TextDelta("a"))
    engine_thread = threading.Thread(target=dispatcher.flush, args=(none_lost,))
    engine_thread.start()
    engine_thread.join()
    wakes = loop.wakes

    async def read() -> list[object]:
        return [await anext(stream.deltas) for stream in streams for _ in range(2)]

    assert len(loop.run_until_complete(read())) == 10
    loop.close()
    assert wakes == 1


def test_streams_of_a_closed_loop_are_reported_lost() -> None:
    loop = asyncio.new_event_loop()
    dispatcher = DeltaDispatcher()
    stream = engine_stream(dispatcher, loop)
    stream.put(TextDelta("a"))
    loop.close()
    lost: list[EngineStream] = []
    dispatcher.flush(lost.append)
    assert lost == [stream]
