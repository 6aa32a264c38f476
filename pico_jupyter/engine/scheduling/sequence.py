"""Generation and Sequence: one request in the scheduler, and each of its n choices."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from pico_jupyter.engine.backend import Media, RowSampling, SampledToken, TokenConstraint
from pico_jupyter.errors import PicoError
from pico_jupyter.types import (
    Delta,
    FinishReason,
    ModelInfo,
    SamplingParams,
    TextDelta,
    Timings,
    TokenLogprob,
    TokenUsage,
    TopLogprob,
)

Phase: TypeAlias = Literal["queue", "load", "prefill", "decode", "done"]

_GREEDY = 0.0
_ALL_TOKENS = 1 << 30
_DEFAULT_CONTEXT_SIZE = 20


class Sink(Protocol):
    """Receives a generation's deltas on the engine thread. Never blocks and never raises."""

    def put(self, delta: Delta) -> None:
        """Append a delta. The last one is Finished, unless fail() ends the answer."""

    def fail(self, error: PicoError) -> None:
        """End the answer with an error. No delta follows."""


class TokenParser(Protocol):
    """Turns the tokens of one choice into deltas (engine.text.output_parser.OutputParser)."""

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found."""

    @property
    def stop_string(self) -> str:
        """The stop string that was found; "" for none."""

    @property
    def reasoning_tokens(self) -> int:
        """The number of tokens in the reasoning so far."""

    @property
    def has_tool_calls(self) -> bool:
        """Whether the choice has called a tool."""

    def push(self, token_id: int, logprob: TokenLogprob | None = None) -> Items[Delta]:
        """Parse the next token. Returns the deltas that later tokens cannot change."""

    def flush(self) -> Items[Delta]:
        """End the choice. Returns the deltas that push() held back."""


class TokenTable(Protocol):
    """The part of a Tokenizer that the scheduler uses (engine.text.tokenizer)."""

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of a token."""


@dataclass(slots=True, eq=False)
class Sequence:
    """One choice of a generation. `row` is its number in the backend, unique for the life of the engine."""

    row: int
    index: int
    sampling: RowSampling
    parser: TokenParser
    tokens: list[int] = field(default_factory=list)
    finish_reason: FinishReason | None = None


@dataclass(slots=True)
class Timestamps:
    """When a generation reached each phase, in seconds of the engine's clock. None: not reached, or skipped."""

    submitted: float
    load_started: float | None = None
    load_ended: float | None = None
    prefill_started: float | None = None
    first_token: float | None = None

    def timings(self, now: float) -> Timings:
        """The duration of each phase for a generation that ends now."""
        load = _ns(self.load_started, self.load_ended)
        prefill = _ns(self.prefill_started, now if self.first_token is None else self.first_token)
        decode = _ns(self.first_token, now)
        total = max(_ns(self.submitted, now), load + prefill + decode)
        return Timings(total_ns=total, load_ns=load, prefill_ns=prefill, decode_ns=decode)


def _ns(start: float | None, end: float | None) -> int:
    return 0 if start is None or end is None else max(0, int((end - start) * 1e9))


@dataclass(slots=True, eq=False)
class Generation:
    """One request that is ready to run: its prompt is tokens, and every parameter has a value.

    A generation with max_tokens 0, or without sequences and `texts`, only loads its model. `texts` are tokenized texts
    to embed; their `vectors` are None until they are computed. Such a generation has no prompt. The prompt's tokens
    are negative in the spans of its `media`. `boundaries` are ascending lengths in tokens at which later prompts will
    probably diverge from this one. `draft` is the draft model; it proposes `draft_tokens` tokens a step. `keep_alive`
    is in seconds. `end_tokens` end an answer, besides the tokens that always do. A generation that `scores_prompt`
    computes the log-probabilities of the prompt's tokens, also with max_tokens 0. A `low_priority` generation starts
    after all others in the queue, and is preempted before all others.

    The scheduler sets the fields from `phase` on. `arrival` is the position in the order of arrival, `reserved` the
    bytes reserved for KV caches, `prefilled` the number of computed prompt tokens, `failures` the number of failed
    backend calls for the generation. An isolated generation runs alone, because a batch that contained it failed.
    """

    id: str
    info: ModelInfo
    prompt: list[int]
    max_tokens: int
    reasoning: bool
    sequences: list[Sequence]
    vocabulary: TokenTable | None
    keep_alive: float
    sink: Sink
    times: Timestamps
    return_context: bool = False
    media: Media | None = None
    boundaries: tuple[int, ...] = ()
    draft: ModelInfo | None = None
    draft_tokens: int = 0
    texts: list[list[int]] = field(default_factory=list)
    vectors: list[bytes | None] = field(default_factory=list)
    end_tokens: frozenset[int] = frozenset()
    scores_prompt: bool = False
    low_priority: bool = False
    phase: Phase = "queue"
    arrival: int = 0
    reserved: int = 0
    prefilled: int = 0
    cached_tokens: int | None = None
    failures: int = 0
    is_isolated: bool = False

    def __repr__(self) -> str:
        generated = sum(len(sequence.tokens) for sequence in self.sequences)
        return f"<Generation {self.id} {self.phase} [{len(self.prompt)} prompt | {generated} generated]>"

    @property
    def rows(self) -> list[int]:
        """The rows of all sequences in the backend."""
        return [sequence.row for sequence in self.sequences]

    @property
    def open_sequences(self) -> list[Sequence]:
        """The sequences that have not finished."""
        return [sequence for sequence in self.sequences if sequence.finish_reason is None]

    @property
    def only_loads(self) -> bool:
        """Whether nothing is computed except the load of the model."""
        is_empty = not self.sequences or (self.max_tokens == 0 and not self.scores_prompt)
        return is_empty and not self.texts

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The models that must be loaded before the generation starts."""
        return (self.info,) if self.draft is None else (self.info, self.draft)

    @property
    def usage(self) -> TokenUsage:
        """The token counts so far."""
        return TokenUsage(
            prompt_tokens=len(self.prompt) + sum(map(len, self.texts)),
            completion_tokens=sum(len(sequence.tokens) for sequence in self.sequences),
            cached_tokens=self.cached_tokens or 0,
            reasoning_tokens=sum(sequence.parser.reasoning_tokens for sequence in self.sequences),
        )

    @property
    def context(self) -> tuple[int, ...]:
        """The tokens of the prompt and of the first choice, if the request asks for them and has no media."""
        if not self.return_context or not self.sequences or self.media:
            return ()
        return (*self.prompt, *self.sequences[0].tokens)

    def append(self, sequence: Sequence, sampled: SampledToken) -> None:
        """Parse a sampled token and send the deltas to the sink. Sets finish_reason if the token is the last one."""
        assert self.vocabulary is not None
        if self.scores_prompt and not sequence.tokens:
            self._put_logprobs(sequence, SampledToken(sequence.row, self.prompt[0], 0.0), *sampled.prompt)
        if self.max_tokens == 0:
            # The token was sampled only because a backend returns the scores of a prompt with it.
            self._finish(sequence, "length")
            return
        sequence.tokens.append(sampled.token)
        if sampled.token in self.vocabulary.eos_token_ids or sampled.token in self.end_tokens:
            constraint = sequence.sampling.constraint
            self._finish(sequence, "length" if constraint is not None and constraint.error else "stop")
            if self.scores_prompt:
                # lm-evaluation-harness 0.4 ignores the last item, which it expects to be the sampled token.
                self._put_logprobs(sequence, sampled)
            return
        for delta in sequence.parser.push(sampled.token, _logprob(sampled, self.vocabulary)):
            self.sink.put(delta)
        if sequence.parser.stopped:
            self._finish(sequence, "stop")
        elif len(sequence.tokens) >= self.max_tokens:
            self._finish(sequence, "length")

    def replay(self, sampled: Items[Items[int]]) -> None:
        """Continue after tokens that an engine sampled before it ended. Nothing is sent to the sink."""
        sink, self.sink = self.sink, _Silent()
        for sequence, tokens in zip(self.sequences, sampled, strict=False):
            for token in tokens:
                self.append(sequence, SampledToken(sequence.row, token))
        self.sink = sink

    def _put_logprobs(self, sequence: Sequence, *tokens: SampledToken) -> None:
        """Send the log-probabilities of tokens that the parser does not read."""
        assert self.vocabulary is not None
        entries = (_logprob(token, self.vocabulary) for token in tokens)
        self.sink.put(TextDelta("", sequence.index, tuple(entry for entry in entries if entry)))

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        for delta in sequence.parser.flush():
            self.sink.put(delta)
        is_call = reason == "stop" and sequence.parser.has_tool_calls
        sequence.finish_reason = "tool_calls" if is_call else reason


class _Silent:
    """A sink that ignores everything."""

    def put(self, delta: Delta) -> None:
        """Ignore a delta."""

    def fail(self, error: PicoError) -> None:
        """Ignore an error."""


def _logprob(sampled: SampledToken, vocabulary: TokenTable) -> TokenLogprob | None:
    if sampled.logprob is None:
        return None

    def text(raw: bytes) -> str:
        return raw.decode("utf-8", "replace")

    likeliest = [(vocabulary.token_bytes(token), logprob) for token, logprob in sampled.top]
    top = tuple(TopLogprob(text(raw), logprob, raw) for raw, logprob in likeliest)
    raw = vocabulary.token_bytes(sampled.token)
    return TokenLogprob(text(raw), sampled.logprob, raw, top)


def resolve_sampling(
    request: SamplingParams,
    model: SamplingParams,
    fallback: SamplingParams,
    *,
    seed: int,
    top_logprobs: int | None,
    constraint: TokenConstraint | None = None,
) -> RowSampling:
    """Resolve each parameter from `request`, `model` or `fallback`, in this order, else to a value without effect."""

    chosen: dict[str, Any] = {}
    for params in (fallback, model, request):
        chosen |= {name: value for name, value in msgspec.structs.asdict(params).items() if value is not None}

    def context_size(name: str) -> int:
        size = int(chosen.get(name, _DEFAULT_CONTEXT_SIZE))
        return _ALL_TOKENS if size < 0 else min(size, _ALL_TOKENS)

    top_p = chosen.get("top_p", 1.0)
    return RowSampling(
        temperature=_GREEDY if top_p <= 0 else chosen.get("temperature", 1.0),
        top_p=top_p,
        top_k=max(0, int(chosen.get("top_k", 0))),
        min_p=chosen.get("min_p", 0.0),
        seed=seed,
        repetition_penalty=chosen.get("repetition_penalty", 1.0),
        repetition_context_size=context_size("repetition_context_size"),
        presence_penalty=chosen.get("presence_penalty", 0.0),
        presence_context_size=context_size("presence_context_size"),
        frequency_penalty=chosen.get("frequency_penalty", 0.0),
        frequency_context_size=context_size("frequency_context_size"),
        logit_bias=tuple(sorted(chosen.get("logit_bias", {}).items())),
        top_logprobs=top_logprobs,
        constraint=constraint,
    )
