"""What stands in at a floor: a backend without maths, a clock that a test moves, a sink that remembers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pico_jupyter.engine.backends.base import Draw, RowSampling
from pico_jupyter.errors import PicoError
from pico_jupyter.types import Delta, Finished, ModelInfo, TextDelta, TokenLogprob

PATIENCE = 60.0
FAKE_EOS = 0


class FakeClock:
    """Seconds that pass when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Gate:
    """Lets calls of a backend through: all of them while open, else as many as a test allows.

    `arrivals` counts the calls that have come to the gate, the one that waits there included.
    """

    def __init__(self, *, is_open: bool = True) -> None:
        self._changed = threading.Condition()
        self._is_open = is_open
        self._allowed = 0
        self.arrivals = 0

    def open(self) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_open = False
            self._allowed = 0

    def allow(self, calls: int = 1) -> None:
        with self._changed:
            self._allowed += calls
            self._changed.notify_all()

    def wait_for_arrivals(self, count: int) -> None:
        """Block until that many calls have come here since the beginning."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.arrivals >= count, PATIENCE), f"{self.arrivals} calls came"

    def arrive(self) -> None:
        with self._changed:
            self.arrivals += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._is_open or self._allowed > 0, PATIENCE), "the gate stayed shut"
            if not self._is_open:
                self._allowed -= 1


Answer = Callable[[Sequence[int], RowSampling], Iterator[int]]


def count_up(prompt: Sequence[int], sampling: RowSampling) -> Iterator[int]:
    """The default answer: goes on counting from the prompt's last token, offset by the seed."""
    token = prompt[-1] + sampling.seed
    while True:
        token += 1
        yield token


@dataclass(slots=True)
class _FakePrompt:
    tokens: list[int]
    left: int


@dataclass(slots=True)
class _FakeRow:
    prompt: _FakePrompt
    sampling: RowSampling
    answer: Iterator[int]


class FakeBackend:
    """A Backend whose answers are a rule. `gate` stops its calls; `failures` are raised by the verb that they name."""

    def __init__(
        self,
        *,
        answer: Answer = count_up,
        gate: Gate | None = None,
        weights_nbytes: int = 1000,
        load_steps: int = 1,
        bytes_per_token: int = 1,
    ) -> None:
        self.gate = gate or Gate()
        self.failures: dict[str, Exception] = {}
        self.is_closed = False
        self.steps = 0
        self.prefills: list[tuple[int, int]] = []
        self._answer = answer
        self._weights_nbytes = weights_nbytes
        self._load_steps = load_steps
        self._load_steps_left = load_steps
        self._bytes_per_token = bytes_per_token
        self._rows: dict[int, _FakeRow] = {}

    def __repr__(self) -> str:
        return f"<FakeBackend [{len(self._rows)} rows]>"

    @property
    def rows(self) -> list[int]:
        return list(self._rows)

    @property
    def weights_nbytes(self) -> int:
        return self._weights_nbytes

    @property
    def cache_nbytes(self) -> int:
        return self._bytes_per_token * sum(len(row.prompt.tokens) - row.prompt.left for row in self._rows.values())

    def load_step(self) -> int:
        self._call("load_step")
        self._load_steps_left = max(0, self._load_steps_left - 1)
        return self._weights_nbytes * self._load_steps_left // self._load_steps

    def insert(self, rows: Mapping[int, RowSampling], prompt: Sequence[int]) -> None:
        assert prompt, "a prompt has at least one token"
        shared = _FakePrompt(list(prompt), len(prompt))
        for row, sampling in rows.items():
            assert row not in self._rows, f"row {row} is there already"
            self._rows[row] = _FakeRow(shared, sampling, self._answer(prompt, sampling))

    def prefill(self, row: int, limit: int) -> int:
        self._call("prefill")
        self.prefills.append((row, limit))
        prompt = self._rows[row].prompt
        prompt.left = max(0, prompt.left - limit)
        return prompt.left

    def step(self) -> list[Draw]:
        self._call("step")
        self.steps += 1
        ready = [(number, row) for number, row in self._rows.items() if row.prompt.left == 0]
        return [_fake_draw(number, next(row.answer), row.sampling) for number, row in ready]

    def remove(self, rows: Collection[int]) -> None:
        for row in rows:
            self._rows.pop(row, None)

    def close(self) -> None:
        self.is_closed = True
        self._rows.clear()

    def _call(self, verb: str) -> None:
        assert not self.is_closed, "called after close()"
        self.gate.arrive()
        if verb in self.failures:
            raise self.failures.pop(verb)


def _fake_draw(row: int, token: int, sampling: RowSampling) -> Draw:
    if sampling.top_logprobs is None:
        return Draw(row, token)
    top = tuple((token + rank, -0.5 - rank) for rank in range(sampling.top_logprobs))
    return Draw(row, token, -0.5, top)


class FakeVocabulary:
    """Token n reads "n "; token 0 ends the answer."""

    eos_token_ids = frozenset({FAKE_EOS})

    def token_bytes(self, token_id: int) -> bytes:
        return f"{token_id} ".encode()


@dataclass
class FakeParser:
    """Gives each token out as text; stops, or breaks, where told to."""

    stop_at: int | None = None
    index: int = 0
    break_at: int | None = None
    stopped: bool = False
    reasoning_tokens: int = 0
    has_tool_calls: bool = False

    def push(self, token_id: int, logprob: TokenLogprob | None = None) -> list[Delta]:
        if token_id == self.break_at:
            raise RuntimeError("the parser broke")
        self.stopped = token_id == self.stop_at
        if self.stopped:
            return []
        return [TextDelta(f"{token_id} ", self.index, (logprob,) if logprob else ())]

    def flush(self) -> list[Delta]:
        return []


@dataclass
class ListSink:
    """Remembers what an engine sent."""

    deltas: list[Delta] = field(default_factory=list)
    error: PicoError | None = None

    def put(self, delta: Delta) -> None:
        assert not self.is_ended, "nothing follows the end"
        self.deltas.append(delta)

    def fail(self, error: PicoError) -> None:
        assert not self.is_ended, "a stream ends once"
        self.error = error

    @property
    def is_ended(self) -> bool:
        return self.error is not None or self.finished is not None

    @property
    def finished(self) -> Finished | None:
        last = self.deltas[-1] if self.deltas else None
        return last if isinstance(last, Finished) else None

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, TextDelta))

    def count(self, kind: type[Delta]) -> int:
        return sum(isinstance(delta, kind) for delta in self.deltas)


def fake_info(name: str = "fake", size: int = 1000) -> ModelInfo:
    """A model that exists on no disk."""
    return ModelInfo(
        name=name,
        path=f"/nowhere/{name}",
        repo="",
        source="folder",
        size=size,
        modified=0.0,
        digest="0" * 64,
        family="fake",
        parameter_count=1,
        quantization="bf16",
        context_length=100_000,
        embedding_length=1,
        block_count=1,
        capabilities=("completion",),
        reasoning_switch=False,
        reasoning_default=False,
    )
