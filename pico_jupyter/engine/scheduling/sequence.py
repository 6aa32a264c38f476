"""What the scheduler schedules: a Generation and its Sequences, one for each of the n choices. Knows no mlx."""

from __future__ import annotations

from collections.abc import Sequence as Rows
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, TypeVar

from pico_jupyter.engine.backend import Draw, Media, RowSampling
from pico_jupyter.errors import PicoError
from pico_jupyter.types import (
    Delta,
    FinishReason,
    ModelInfo,
    SamplingParams,
    Timings,
    TokenLogprob,
    TokenUsage,
    TopLogprob,
)

Phase: TypeAlias = Literal["queue", "load", "prefill", "decode", "done"]
T = TypeVar("T")

_GREEDY = 0.0
_ALL_TOKENS = 1 << 30
_DEFAULT_CONTEXT_SIZE = 20


class Sink(Protocol):
    """Where a generation's deltas go. Called by the engine thread; never blocks, never raises."""

    def put(self, delta: Delta) -> None: ...

    def fail(self, error: PicoError) -> None:
        """End with an error. Nothing follows."""
        ...


class Parser(Protocol):
    """Tokens in, deltas of one choice out (engine.output.OutputParser)."""

    @property
    def stopped(self) -> bool: ...

    @property
    def reasoning_tokens(self) -> int: ...

    @property
    def has_tool_calls(self) -> bool: ...

    def push(self, token_id: int, logprob: TokenLogprob | None = None) -> Rows[Delta]: ...

    def flush(self) -> Rows[Delta]: ...


class Vocabulary(Protocol):
    """The tokenizer, as far as drawn tokens need it."""

    @property
    def eos_token_ids(self) -> frozenset[int]: ...

    def token_bytes(self, token_id: int) -> bytes: ...


@dataclass(slots=True, eq=False)
class Sequence:
    """One choice being generated: a row of the backend. `row` is unique while the engine lives."""

    row: int
    index: int
    sampling: RowSampling
    parser: Parser
    tokens: list[int] = field(default_factory=list)
    finish_reason: FinishReason | None = None


@dataclass(slots=True)
class Marks:
    """When a generation passed its milestones, in seconds of the engine's clock."""

    submitted: float
    load_started: float | None = None
    load_ended: float | None = None
    prefill_started: float | None = None
    first_token: float | None = None

    def timings(self, now: float) -> Timings:
        load = _ns(self.load_started, self.load_ended)
        prefill = _ns(self.prefill_started, now if self.first_token is None else self.first_token)
        decode = _ns(self.first_token, now)
        total = max(_ns(self.submitted, now), load + prefill + decode)
        return Timings(total_ns=total, load_ns=load, prefill_ns=prefill, decode_ns=decode)


def _ns(start: float | None, end: float | None) -> int:
    return 0 if start is None or end is None else max(0, int((end - start) * 1e9))


@dataclass(slots=True, eq=False)
class Generation:
    """One request inside the engine, ready to run: its prompt are tokens and every parameter is decided.

    A generation with max_tokens 0 or without sequences loads its model and is finished. The prompt's tokens are
    negative in the places of its `media`. `boundaries` are the lengths
    at which other prompts will probably leave this one, rising. The model `draft` proposes `draft_tokens`
    tokens a step (None: it does without). What stands below `phase` is the scheduler's: its place in the order of
    arrival, its share of the memory, and how often a call of a backend failed for it; a suspect may be to blame for
    the failure of a whole batch.
    """

    id: str
    info: ModelInfo
    prompt: list[int]
    max_tokens: int
    reasoning: bool
    sequences: list[Sequence]
    vocabulary: Vocabulary | None
    keep_alive: float
    sink: Sink
    marks: Marks
    return_context: bool = False
    media: Media | None = None
    boundaries: tuple[int, ...] = ()
    draft: ModelInfo | None = None
    draft_tokens: int = 0
    phase: Phase = "queue"
    arrival: int = 0
    reserved: int = 0
    prefilled: int = 0
    cached_tokens: int | None = None
    failures: int = 0
    is_suspect: bool = False

    def __repr__(self) -> str:
        drawn = sum(len(sequence.tokens) for sequence in self.sequences)
        return f"<Generation {self.id} {self.phase} [{len(self.prompt)} prompt | {drawn} drawn]>"

    @property
    def rows(self) -> list[int]:
        return [sequence.row for sequence in self.sequences]

    @property
    def open_sequences(self) -> list[Sequence]:
        return [sequence for sequence in self.sequences if sequence.finish_reason is None]

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """What must be resident for it to run."""
        return (self.info,) if self.draft is None else (self.info, self.draft)

    @property
    def usage(self) -> TokenUsage:
        return TokenUsage(
            prompt_tokens=len(self.prompt),
            completion_tokens=sum(len(sequence.tokens) for sequence in self.sequences),
            cached_tokens=self.cached_tokens or 0,
            reasoning_tokens=sum(sequence.parser.reasoning_tokens for sequence in self.sequences),
        )

    @property
    def context(self) -> tuple[int, ...]:
        if not self.return_context or not self.sequences or self.media:
            return ()
        return (*self.prompt, *self.sequences[0].tokens)

    def take(self, sequence: Sequence, draw: Draw) -> None:
        """Let a drawn token go to the parser and its deltas to the sink; ends the sequence where it is due."""
        assert self.vocabulary is not None
        sequence.tokens.append(draw.token)
        if draw.token in self.vocabulary.eos_token_ids:
            self._end(sequence, "stop")
            return
        for delta in sequence.parser.push(draw.token, _logprob(draw, self.vocabulary)):
            self.sink.put(delta)
        if sequence.parser.stopped:
            self._end(sequence, "stop")
        elif len(sequence.tokens) >= self.max_tokens:
            self._end(sequence, "length")

    def _end(self, sequence: Sequence, reason: FinishReason) -> None:
        for delta in sequence.parser.flush():
            self.sink.put(delta)
        is_call = reason == "stop" and sequence.parser.has_tool_calls
        sequence.finish_reason = "tool_calls" if is_call else reason


def _logprob(draw: Draw, vocabulary: Vocabulary) -> TokenLogprob | None:
    if draw.logprob is None:
        return None

    def text(raw: bytes) -> str:
        return raw.decode("utf-8", "replace")

    top = tuple(
        TopLogprob(text(raw), logprob, raw)
        for raw, logprob in ((vocabulary.token_bytes(token), logprob) for token, logprob in draw.top)
    )
    raw = vocabulary.token_bytes(draw.token)
    return TokenLogprob(text(raw), draw.logprob, raw, top)


def resolve_sampling(
    asked: SamplingParams, model: SamplingParams, fallback: SamplingParams, *, seed: int, top_logprobs: int | None
) -> RowSampling:
    """Decide every parameter: the request's own value, else the model's, else the dialect's, else off."""

    def first(values: tuple[T | None, T | None, T | None], otherwise: T) -> T:
        return next((value for value in values if value is not None), otherwise)

    def three(name: str) -> tuple[float | None, float | None, float | None]:
        return getattr(asked, name), getattr(model, name), getattr(fallback, name)

    def context_size(name: str) -> int:
        size = int(first(three(name), _DEFAULT_CONTEXT_SIZE))
        return _ALL_TOKENS if size < 0 else size

    top_p = first(three("top_p"), 1.0)
    bias = first((asked.logit_bias, model.logit_bias, fallback.logit_bias), {})
    return RowSampling(
        temperature=_GREEDY if top_p <= 0 else first(three("temperature"), 1.0),
        top_p=top_p,
        top_k=max(0, int(first(three("top_k"), 0))),
        min_p=first(three("min_p"), 0.0),
        seed=seed,
        repetition_penalty=first(three("repetition_penalty"), 1.0),
        repetition_context_size=context_size("repetition_context_size"),
        presence_penalty=first(three("presence_penalty"), 0.0),
        presence_context_size=context_size("presence_context_size"),
        frequency_penalty=first(three("frequency_penalty"), 0.0),
        frequency_context_size=context_size("frequency_context_size"),
        logit_bias=tuple(sorted(bias.items())),
        top_logprobs=top_logprobs,
    )
