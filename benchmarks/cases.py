"""The data classes of the benchmarks. A case is measured in visits: one visit measures it at one server."""

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
# A token limit that no stream reaches before the client closes it.
ENDLESS = 20_000
# Prompt tokens of requests whose length does not matter.
PROMPT = 64
# Timeout for the first token of a stream.
BEGIN_SECONDS = 60.0


@dataclass(frozen=True)
class Setup:
    """The options of both servers. Cases with the same setup share running servers.

    `traits` are arguments of the Jupyter server, and `flags` are arguments of the other server.
    """

    checkpoint: str = "small"
    traits: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A number that a case measures: its key in the results, its title, its unit, and its bar (the goal).

    `is_ours`: the figure is not measured for the other server.
    """

    key: str
    title: str
    unit: str
    bar: Bar | None = None
    is_ours: bool = False


@dataclass(frozen=True)
class Case:
    """One benchmark on one checkpoint. `id` groups related cases.

    `rival` names the other server. It is "" if only pico_jupyter is measured.
    """

    id: str
    title: str
    measure: Measure
    figures: tuple[Figure, ...]
    checkpoint: str = "small"
    setup: Setup = Setup()
    rival: str = MLX_LM
    is_quick: bool = True
    # Runs one round less than other cases, but at least one.
    is_long: bool = False

    @property
    def key(self) -> str:
        """The key of the case in the results."""
        return f"{self.id} {self.title}"


@dataclass
class Visit:
    """One measurement of a case at one server, with new prompts. `notes` are observations for the report."""

    server: Server
    checkpoint: str
    folder: Path
    seed: str
    is_quick: bool
    blas: dict[str, str]

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        self.words = Words(self.folder, self.seed)
        self.rng = random.Random(self.seed)

    @property
    def address(self) -> Address:
        return self.server.address

    def times(self, full: int, quick: int) -> int:
        """The number of repetitions: `quick` with --quick, else `full`."""
        return quick if self.is_quick else full

    def question(self, count: int) -> Messages:
        """A question that the checkpoint can answer. For models with random weights, it has `count` random words."""
        return arithmetic(self.rng) if self.checkpoint in BUILT_IN else self.words.question(count)

    def about(self, png: bytes, count: int) -> Messages:
        """A question about an image. For models with random weights, its text has `count` random words."""
        text = about_a_picture(self.rng) if self.checkpoint in BUILT_IN else self.words.text(count)
        return with_picture(png, text)

    def body(self, messages: Messages, tokens: int, checkpoint: str = "", **fields: Any) -> dict[str, Any]:
        """The body of a chat request. It streams and is greedy, unless `fields` change that."""
        body = {"model": self.server.model(checkpoint or self.checkpoint), "messages": messages, "max_tokens": tokens}
        return {**body, **GREEDY, "stream": True, "stream_options": {"include_usage": True}, **fields}

    async def send(self, messages: Messages, tokens: int, checkpoint: str = "", **fields: Any) -> Exchange:
        """Send a chat request, and return without waiting for the answer."""
        return await send(self.address, self.server.chat_path, self.body(messages, tokens, checkpoint, **fields))

    async def ask(self, messages: Messages, tokens: int, checkpoint: str = "", **fields: Any) -> Answer:
        """Send a chat request and return the answer. Raises Broken if a random model generates not exactly `tokens`."""
        answer = await ask(self.address, self.server.chat_path, self.body(messages, tokens, checkpoint, **fields))
        if (checkpoint or self.checkpoint) not in BUILT_IN and answer.completion_tokens != tokens:
            raise Broken(f"asked for {tokens} tokens and got {answer.completion_tokens}")
        return answer

    @contextlib.asynccontextmanager
    async def streams(self, count: int) -> AsyncGenerator[list[Exchange], None]:
        """Start `count` streams. All of them decode when the `async with` block begins, and its end closes them."""
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
        """The bytes of all loaded models and their caches, from pico_jupyter's api/ps."""
        return sum(model["size"] for model in json.loads(await get(self.address, "/api/ps"))["models"])

    async def metric(self, name: str) -> float:
        """The current value of a gauge of pico_jupyter, or 0 if it is not published."""
        lines = (await get(self.address, "/metrics")).splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith(name + " ")), 0.0)

    async def warm_up(self) -> None:
        """Load the checkpoint with a short chat, so that later measurements do not include the load."""
        await self.ask(self.question(8), 4)


Measure: TypeAlias = Callable[[Visit], Awaitable[Figures]]
