"""The vocabulary of the benchmarks: a case is measured in visits to one server after the other. Knows no benchmark."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.checkpoints import BUILT_IN
from benchmarks.clients import Address, Answer, Broken, Exchange, ask, get, send
from benchmarks.prompts import Messages, Words, about_a_picture, arithmetic, with_picture
from benchmarks.servers import MLX_LM, Server
from benchmarks.spread import Bar

Figures: TypeAlias = "dict[str, float]"
GREEDY: dict[str, Any] = {"temperature": 0.0}
SAMPLED: dict[str, Any] = {"temperature": 0.7, "top_p": 0.9}
# More than any stream gives before it is closed.
ENDLESS = 20_000
# The length of a prompt where it does not matter.
PROMPT = 64
# How long streams may take to begin.
BEGIN_SECONDS = 60.0


@dataclass(frozen=True)
class Setup:
    """How both servers are started. Cases with the same setup share running servers."""

    checkpoint: str = "small"
    traits: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A number that a case gives: its name in the results, its words and unit, and what it must be.

    `is_ours`: there is none of the rival.
    """

    key: str
    title: str
    unit: str
    bar: Bar | None = None
    is_ours: bool = False


@dataclass(frozen=True)
class Case:
    """One benchmark on one checkpoint. `id` is that of the table in the design, `rival` whom we are compared with."""

    id: str
    title: str
    measure: Measure
    figures: tuple[Figure, ...]
    checkpoint: str = "small"
    setup: Setup = Setup()
    rival: str = MLX_LM
    is_quick: bool = True
    # One round less than the others have, and at least one.
    is_long: bool = False

    @property
    def key(self) -> str:
        """The case's name in the results."""
        return f"{self.id} {self.title}"


@dataclass
class Visit:
    """One turn of a case at one server, with fresh prompts. `notes` are words for the reader beside the figures."""

    server: Server
    checkpoint: str
    folder: Path
    seed: str
    is_quick: bool
    blas: dict[str, str]

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        self.words = Words(self.folder, self.seed)
        self.draw = random.Random(self.seed)

    @property
    def address(self) -> Address:
        return self.server.address

    def times(self, full: int, quick: int) -> int:
        """A count: how often something is repeated."""
        return quick if self.is_quick else full

    def question(self, count: int) -> Messages:
        """A short chat that suits the checkpoint."""
        return arithmetic(self.draw) if self.checkpoint in BUILT_IN else self.words.question(count)

    def about(self, png: bytes, count: int) -> Messages:
        """A question about a picture that suits the checkpoint."""
        text = about_a_picture(self.draw) if self.checkpoint in BUILT_IN else self.words.text(count)
        return with_picture(png, text)

    def body(self, messages: Messages, tokens: int, checkpoint: str = "", **fields: Any) -> dict[str, Any]:
        """A streaming, greedy chat unless the fields say otherwise."""
        body = {"model": self.server.model(checkpoint or self.checkpoint), "messages": messages, "max_tokens": tokens}
        return {**body, **GREEDY, "stream": True, "stream_options": {"include_usage": True}, **fields}

    async def send(self, messages: Messages, tokens: int, checkpoint: str = "", **fields: Any) -> Exchange:
        """Send a chat and do not wait for its answer."""
        return await send(self.address, self.server.chat_path, self.body(messages, tokens, checkpoint, **fields))

    async def ask(self, messages: Messages, tokens: int, checkpoint: str = "", **fields: Any) -> Answer:
        """A whole chat. The random models always write as much as was asked for; Broken is raised if not."""
        answer = await ask(self.address, self.server.chat_path, self.body(messages, tokens, checkpoint, **fields))
        if (checkpoint or self.checkpoint) not in BUILT_IN and answer.completion_tokens != tokens:
            raise Broken(f"asked for {tokens} tokens and got {answer.completion_tokens}")
        return answer

    @contextlib.asynccontextmanager
    async def streams(self, count: int) -> AsyncGenerator[list[Exchange], None]:
        """So many chats that decode all the while, and are broken off at the end."""
        exchanges: list[Exchange] = []
        try:
            for _ in range(count):
                exchanges.append(await self.send(self.words.question(PROMPT), ENDLESS))
            await asyncio.wait_for(asyncio.gather(*(exchange.began() for exchange in exchanges)), BEGIN_SECONDS)
            await asyncio.sleep(0.5)
            yield exchanges
        finally:
            for exchange in exchanges:
                exchange.close()

    async def resident_bytes(self) -> int:
        """Bytes of all loaded models with the caches of what runs, as pico_jupyter's api/ps has it at this moment."""
        return sum(model["size"] for model in json.loads(await get(self.address, "/api/ps"))["models"])

    async def metric(self, name: str) -> float:
        """One of pico_jupyter's gauges, as it was told last."""
        lines = (await get(self.address, "/metrics")).splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith(name + " ")), 0.0)

    async def warm_up(self) -> None:
        """Have the checkpoint loaded and the first step's costs paid."""
        await self.ask(self.question(8), 4)


Measure: TypeAlias = Callable[[Visit], Awaitable[Figures]]
