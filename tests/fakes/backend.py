"""Fakes for the interfaces of the engine: a backend without computation, a manual clock, a recording sink."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import islice

from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.engine.backend import DraftModel, Media, RowSampling, SampledToken
from pico_jupyter.engine.memory.prefix_cache import common_length
from pico_jupyter.errors import PicoError
from pico_jupyter.types import Delta, Finished, ModelInfo, TextDelta, TokenLogprob

PATIENCE = 60.0
FAKE_EOS = 0


class FakeClock:
    """A clock that a test advances."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Gate:
    """Blocks the calls of a backend while it is closed. A test can allow single calls.

    `arrivals` counts all calls, including the blocked one.
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
        """Block until `arrivals` reaches `count`."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.arrivals >= count, PATIENCE), f"there were {self.arrivals} calls"

    def arrive(self) -> None:
        with self._changed:
            self.arrivals += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._is_open or self._allowed > 0, PATIENCE), (
                "the gate was not opened"
            )
            if not self._is_open:
                self._allowed -= 1


TokenRule = Callable[[Sequence[int], RowSampling], Iterator[int]]


def count_up(prompt: Sequence[int], sampling: RowSampling) -> Iterator[int]:
    """The default answer: consecutive numbers that follow the sum of the prompt's last token and the seed."""
    token = prompt[-1] + sampling.seed
    while True:
        token += 1
        yield token


class FakePrefixes:
    """A prefix cache that fake models share. It keeps sequences of tokens, and evicts the oldest first."""

    def __init__(self) -> None:
        self._kept: list[tuple[FakeBackend, tuple[int, ...]]] = []

    @property
    def nbytes(self) -> int:
        return sum(backend.bytes_per_token * len(tokens) for backend, tokens in self._kept)

    def evict(self, nbytes: int) -> int:
        before = self.nbytes
        while self._kept and before - self.nbytes < nbytes:
            self._kept.pop(0)
        return before - self.nbytes

    def keep(self, backend: FakeBackend, tokens: Sequence[int]) -> None:
        if tokens and (backend, tuple(tokens)) not in self._kept:
            self._kept.append((backend, tuple(tokens)))

    def match(self, backend: FakeBackend, prompt: Sequence[int]) -> int:
        lengths = [common_length(prompt, list(tokens)) for owner, tokens in self._kept if owner is backend]
        return min(max(lengths, default=0), len(prompt) - 1)

    def drop(self, backend: FakeBackend) -> None:
        self._kept = [(owner, tokens) for owner, tokens in self._kept if owner is not backend]


@dataclass(slots=True)
class _FakePrompt:
    """A prompt whose first `computed` tokens are prefilled. The first decode step computes the prompt's last token.

    `keep_at` has the lengths at which the prefix cache keeps the prompt.
    """

    tokens: list[int]
    computed: int
    keep_at: set[int] = field(default_factory=set)

    @property
    def remaining(self) -> int:
        return len(self.tokens) - 1 - self.computed


@dataclass(slots=True)
class _FakeRow:
    prompt: _FakePrompt
    sampling: RowSampling
    answer: Iterator[int]
    is_decoding: bool = False
    sampled: list[int] = field(default_factory=list)
    draft: DraftModel | None = None
    scores_prompt: bool = False

    @property
    def cached(self) -> list[int]:
        """The tokens in the row's KV cache: all except the last sampled token."""
        if not self.sampled:
            return self.prompt.tokens[: self.prompt.computed]
        return [*self.prompt.tokens, *self.sampled[:-1]]


class FakeBackend:
    """A Backend whose answers follow a TokenRule. `gate` can block its calls, and fail() makes a method raise.

    step() raises while the prompt of a decoding row begins with one of the `breaking` tokens. `computed` counts the
    prefilled tokens.
    """

    def __init__(
        self,
        *,
        answer: TokenRule = count_up,
        gate: Gate | None = None,
        weights_nbytes: int = 1000,
        load_steps: int = 1,
        bytes_per_token: int = 1,
        prefixes: FakePrefixes | None = None,
        breaking: Collection[int] = (),
        on_prefill: Callable[[int], None] = lambda tokens: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.gate = gate or Gate()
        self._failures: dict[str, list[Exception]] = {}
        self.is_closed = False
        self.steps = 0
        self.prefills: list[tuple[int, int]] = []
        self.computed = 0
        self.bytes_per_token = bytes_per_token
        self._answer = answer
        self._weights_nbytes = weights_nbytes
        self._load_steps = load_steps
        self._load_steps_left = load_steps
        self._prefixes = prefixes or FakePrefixes()
        self._breaking = frozenset(breaking)
        self._on_prefill = on_prefill
        self._on_step = on_step
        self._rows: dict[int, _FakeRow] = {}

    def __repr__(self) -> str:
        return f"<FakeBackend [{len(self._rows)} rows]>"

    @property
    def rows(self) -> list[int]:
        return list(self._rows)

    @property
    def decoding(self) -> list[int]:
        return [number for number, row in self._rows.items() if row.is_decoding]

    @property
    def drafted(self) -> list[int]:
        """The rows with a draft model."""
        return [number for number, row in self._rows.items() if row.draft]

    @property
    def weights_nbytes(self) -> int:
        return self._weights_nbytes

    @property
    def cache_nbytes(self) -> int:
        return self.bytes_per_token * sum(len(row.cached) for row in self._rows.values())

    def fail(self, method: str, error: Exception, times: int = 1) -> None:
        """Make the next `times` calls of a method raise `error`."""
        self._failures[method] = [error] * times

    def load_step(self) -> int:
        self._call("load_step")
        self._load_steps_left = max(0, self._load_steps_left - 1)
        return self._weights_nbytes * self._load_steps_left // self._load_steps

    def estimate_cache(self, tokens: int) -> int:
        return self.bytes_per_token * tokens

    def match(self, prompt: Sequence[int]) -> int:
        return self._prefixes.match(self, prompt)

    def insert(
        self,
        rows: Mapping[int, RowSampling],
        prompt: Sequence[int],
        *,
        generated: int = 0,
        boundaries: Sequence[int] = (),
        draft: DraftModel | None = None,
        media: Media | None = None,
        scores_prompt: bool = False,
    ) -> int:
        assert prompt, "a prompt has at least one token"
        self._fail("insert")
        original = list(prompt[: len(prompt) - generated])
        cached = 0 if scores_prompt else self.match(prompt)
        shared = _FakePrompt(list(prompt), cached)
        for row, sampling in rows.items():
            assert row not in self._rows, f"row {row} exists already"
            answer = self._answer(original, sampling)
            assert list(islice(answer, generated)) == list(prompt[len(original) :]), "a row continues its own tokens"
            self._rows[row] = _FakeRow(shared, sampling, answer, draft=draft, scores_prompt=scores_prompt)
        return cached

    def keep(self, row: int, length: int) -> None:
        prompt = self._rows[row].prompt
        assert 0 < length < len(prompt.tokens)
        if length <= prompt.computed:
            self._prefixes.keep(self, prompt.tokens[:length])
        else:
            prompt.keep_at.add(length)

    def prefill(self, rows: Sequence[int], limit: int) -> dict[int, int]:
        """Prefill the first row's prompt, and other prompts that fit completely into the rest of the limit."""
        self._call("prefill")
        assert limit > 0
        remaining: dict[int, int] = {}
        for row in rows:
            prompt = self._rows[row].prompt
            if remaining and prompt.remaining > limit:
                continue
            self.prefills.append((row, limit))
            count = min(limit, prompt.remaining)
            limit -= count
            remaining[row] = self._advance(prompt, count)
        return remaining

    def _advance(self, prompt: _FakePrompt, count: int) -> int:
        prompt.computed += count
        self.computed += count
        self._on_prefill(count)
        for length in [length for length in prompt.keep_at if length <= prompt.computed]:
            self._prefixes.keep(self, prompt.tokens[:length])
            prompt.keep_at.remove(length)
        if prompt.remaining == 0:
            for row in self._rows.values():
                if row.prompt is prompt:
                    row.is_decoding = True
        return prompt.remaining

    def step(self) -> list[SampledToken]:
        self._call("step")
        self.steps += 1
        self._on_step()
        ready = [(number, row) for number, row in self._rows.items() if row.is_decoding]
        if any(row.prompt.tokens[0] in self._breaking for _, row in ready):
            raise RuntimeError("broken batch")
        return [token for number, row in ready for token in self._sample(number, row)]

    def remove(self, rows: Collection[int], *, keep: bool) -> None:
        for number in rows:
            row = self._rows.pop(number, None)
            if row and keep:
                self._prefixes.keep(self, row.cached)

    def close(self) -> None:
        self.is_closed = True
        self._prefixes.drop(self)
        self._rows.clear()

    def _sample(self, number: int, row: _FakeRow) -> Iterator[SampledToken]:
        """Sample one token. With a draft model, also accept all draft tokens."""
        count = 1
        if row.draft:
            assert isinstance(row.draft.backend, FakeBackend)
            assert not row.draft.backend.is_closed, "a draft model is not unloaded while it has rows"
            count += row.draft.tokens
        for _ in range(count):
            token = next(row.answer)
            sampled = _fake_token(number, token, row.sampling)
            if row.scores_prompt and not row.sampled:
                scores = [_fake_token(number, token, row.sampling) for token in row.prompt.tokens[1:]]
                sampled = replace(sampled, prompt=tuple(scores))
            row.sampled.append(token)
            yield sampled

    def _call(self, method: str) -> None:
        assert not self.is_closed, "called after close()"
        self.gate.arrive()
        self._fail(method)

    def _fail(self, method: str) -> None:
        if errors := self._failures.get(method):
            raise errors.pop()


def _fake_token(row: int, token: int, sampling: RowSampling) -> SampledToken:
    if sampling.top_logprobs is None:
        return SampledToken(row, token)
    top = tuple((token + rank, -0.5 - rank) for rank in range(sampling.top_logprobs))
    return SampledToken(row, token, -0.5, top)


@dataclass(frozen=True)
class Tokens:
    """In a script: the tokens of the first choice whose deltas follow."""

    ids: tuple[int, ...]


def played(deltas: AsyncGenerator[Delta | Tokens, None]) -> DeltaStream:
    """A stream of the generator's deltas and tokens. Closing the stream closes the generator."""

    async def play() -> None:
        try:
            async with aclosing(deltas):
                async for delta in deltas:
                    if isinstance(delta, Tokens):
                        stream.add_tokens([delta.ids])
                    else:
                        stream.feed([delta])
        except Exception as error:  # noqa: BLE001  # every exception of a script ends the stream
            stream.fail(error)

    task = asyncio.get_running_loop().create_task(play())
    stream = DeltaStream(on_close=task.cancel)
    return stream


class FakeVocabulary:
    """The text of token n is "n "; token 0 ends the answer."""

    eos_token_ids = frozenset({FAKE_EOS})

    def token_bytes(self, token_id: int) -> bytes:
        return f"{token_id} ".encode()


@dataclass
class FakeParser:
    """Turns each token into text. Stops at the token `stop_at`, and raises at the token `break_at`."""

    stop_at: int | None = None
    index: int = 0
    break_at: int | None = None
    stopped: bool = False
    stop_string: str = ""
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
    """Records the deltas and the error that an engine sends."""

    deltas: list[Delta] = field(default_factory=list)
    error: PicoError | None = None

    def put(self, delta: Delta) -> None:
        assert not self.is_ended, "no delta follows the end"
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
    """A model without files."""
    return ModelInfo(
        name=name,
        path=f"/nowhere/{name}",
        repo="",
        source="folder",
        size=size,
        weights_size=size,
        float32_size=0,
        modified=0.0,
        digest="0" * 64,
        family="fake",
        parameter_count=1,
        quantization="bf16",
        context_length=100_000,
        embedding_length=1,
        block_count=1,
        capabilities=("completion",),
        reasoning_switch=None,
        reasoning_default=False,
    )
