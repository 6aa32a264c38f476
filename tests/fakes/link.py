"""Connects both ends of the link in one process. A test can drop, repeat or delay replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import Any, Literal

from pico_jupyter.delta_stream import UNREAD_LIMIT
from pico_jupyter.model_kernel import wire
from pico_jupyter.model_kernel.link_client import LinkClient
from pico_jupyter.model_kernel.link_server import LinkServer
from pico_jupyter.types import Delta, GenerationRequest, RawPrompt
from tests.fakes.engine_client import ACCEPTED, FINISHED, ScriptedEngine

Fault = Literal["pass", "drop", "twice", "late"]
REQUEST = GenerationRequest(id="r", model="tiny", prompt=RawPrompt("Hello"))
NEVER = 1e9


class Loopback:
    """A connected `client` and `server`. `sent` are the client's messages, `published` and `replies` the server's.

    `faults` has one entry for each reply; later replies pass. A late reply is delivered after the next reply. A real
    link loses and repeats no replies.
    """

    def __init__(
        self,
        engine: Any,
        faults: Iterable[Fault] = (),
        *,
        window: float = 0.001,
        heartbeat: float = 0.005,
        silence_limit: float = NEVER,
        unread_limit: int = UNREAD_LIMIT,
    ) -> None:
        self.sent: list[tuple[wire.Channel, wire.LinkRequest]] = []
        self.published: list[wire.KernelMessage] = []
        self.replies: list[wire.KernelMessage] = []
        self.is_cut = False
        self.silences = 0
        self._faults: Iterator[Fault] = iter(faults)
        self._late: list[bytes] = []
        self.client = LinkClient(
            self, silence_limit=silence_limit, unread_limit=unread_limit, on_silence=self._count_silence
        )
        self.server = LinkServer(engine, self._publish, window=window, heartbeat=heartbeat)

    def send(self, channel: wire.Channel, payload: bytes) -> None:
        self.sent.append((channel, wire.decode_request(payload)))
        asyncio.get_running_loop().call_soon(self.server.receive, payload, self._reply)

    def batches(self) -> list[wire.DeltaBatches]:
        return [message for message in self.replies if isinstance(message, wire.DeltaBatches)]

    def carried(self) -> list[tuple[Delta, ...]]:
        """The deltas of each batch."""
        return [batch.deltas for message in self.batches() for batch in message.batches]

    def count_sent(self, kind: type[Any]) -> int:
        return sum(isinstance(request, kind) for _, request in self.sent)

    def _count_silence(self) -> None:
        self.silences += 1

    def _publish(self, payload: bytes) -> None:
        self.published.append(wire.decode_message(payload))
        self._deliver(payload)

    def _reply(self, payload: bytes) -> None:
        self.replies.append(wire.decode_message(payload))
        fault = next(self._faults, "pass")
        late, self._late = self._late, []
        if fault == "late":
            self._late.append(payload)
        elif fault != "drop":
            for _ in range(2 if fault == "twice" else 1):
                self._deliver(payload)
        for message in late:
            self._deliver(message)

    def _deliver(self, payload: bytes) -> None:
        if not self.is_cut:
            asyncio.get_running_loop().call_soon(self.client.receive, payload)


class TextEngine(ScriptedEngine):
    """Sends Accepted, `deltas` and Finished. Awaits `pause()` before each of the deltas."""

    def __init__(self, deltas: Iterable[Delta], pause: Callable[[], Any] | None = None) -> None:
        super().__init__()
        self._deltas = deltas
        self._pause = pause

    async def play(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        yield ACCEPTED
        for delta in self._deltas:
            if self._pause is not None:
                await self._pause()
            yield delta
        yield FINISHED


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until `condition` holds. Fails after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.001)
