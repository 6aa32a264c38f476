"""Writes the answers of v1/completions, whole or as a stream."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, assert_never

from msgspec import UNSET, UnsetType

from pico_jupyter.client import Completion
from pico_jupyter.dialects import completions_schema as schema
from pico_jupyter.dialects.completions_request import OpenAICompletionCall
from pico_jupyter.dialects.framing import SSE_DONE, SSE_TYPE, encode_json, finite_logprob, sse_event, sse_keepalive
from pico_jupyter.dialects.openai_answer import describe_openai_error, describe_usage
from pico_jupyter.dialects.openai_answer_schema import OpenAIUsage
from pico_jupyter.errors import PicoError
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    FinishReason,
    Progress,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallPart,
)


class OpenAICompletionStream:
    """Writes the SSE events of one streamed answer.

    `created` is in seconds since the epoch. `echoes` are the texts of the prompts, or empty if the answer does not
    begin with them.
    """

    content_type = SSE_TYPE

    def __init__(
        self, call: OpenAICompletionCall, completion_id: str, created: int, echoes: Sequence[str] = ()
    ) -> None:
        self._call = call
        self._id = completion_id
        self._created = created
        self._echoes = echoes
        self._is_begun = False
        # For each choice, the position in the text at which its next token begins; None before the first token.
        self._offsets: list[int | None] = [None] * (call.n * len(call.requests))

    def __repr__(self) -> str:
        return f"<OpenAICompletionStream {self._id} [{len(self._offsets)} choices]>"

    def encode(self, delta: Delta) -> bytes:
        match delta:
            case Accepted() | Progress() | ToolCallDelta() | ToolCallPart():
                return b""
            case TextDelta() | ReasoningDelta():
                return self._begin() + self._text(delta)
            case Finished():
                return self._begin() + self._finish(delta)
            case _:
                assert_never(delta)

    def keepalive(self, done: int, total: int) -> bytes:
        return sse_keepalive(done, total)

    def error(self, error: PicoError) -> bytes:
        return sse_event(describe_openai_error(error)) + SSE_DONE

    def _begin(self) -> bytes:
        """Write the prompts before the first text."""
        if self._is_begun or not self._echoes:
            return b""
        self._is_begun = True
        texts = [echo for echo in self._echoes for _ in range(self._call.n)]
        return b"".join([self._event(schema.CompletionChoice(text=text, index=i)) for i, text in enumerate(texts)])

    def _text(self, delta: TextDelta | ReasoningDelta) -> bytes:
        if not delta.text and not delta.logprobs:
            return b""
        logprobs = self._next_logprobs(delta.index, delta.logprobs) if delta.logprobs else None
        return self._event(schema.CompletionChoice(text=delta.text, index=delta.index, logprobs=logprobs))

    def _next_logprobs(self, index: int, entries: Sequence[TokenLogprob]) -> schema.CompletionLogprobs:
        start = self._offsets[index]
        is_prompt = start is None and self._call.scores_prompt
        if start is None:
            start = _start_of(entries, self._echoes[index // self._call.n] if self._echoes else "")
        self._offsets[index] = start + sum(map(_length, entries))
        return _logprobs(entries, start, is_prompt=is_prompt)

    def _finish(self, finished: Finished) -> bytes:
        frames = [
            self._event(schema.CompletionChoice(text="", index=i, finish_reason=_reason(reason)))
            for i, reason in enumerate(finished.finish_reasons)
        ]
        if self._call.include_usage:
            usage = describe_usage(finished.usage)
            frames.append(sse_event(_completion(self._call, self._id, self._created, [], usage)))
        return b"".join([*frames, SSE_DONE])

    def _event(self, choice: schema.CompletionChoice) -> bytes:
        usage = None if self._call.include_usage else UNSET
        return sse_event(_completion(self._call, self._id, self._created, [choice], usage))


def text_completion(
    call: OpenAICompletionCall, answer: Completion, completion_id: str, created: int, echoes: Sequence[str] = ()
) -> bytes:
    """Encode a whole answer as one JSON object. `echoes` are the texts of the prompts, if it begins with them."""
    choices = []
    for i, choice in enumerate(answer.choices):
        echo = echoes[i // call.n] if echoes else ""
        logprobs = None
        if call.requests[0].top_logprobs is not None:
            start = _start_of(choice.logprobs, echo)
            logprobs = _logprobs(choice.logprobs, start, is_prompt=call.scores_prompt)
        reason = _reason(choice.finish_reason)
        choices.append(
            schema.CompletionChoice(text=echo + choice.text, index=i, logprobs=logprobs, finish_reason=reason)
        )
    return encode_json(_completion(call, completion_id, created, choices, describe_usage(answer.usage)))


def _completion(
    call: OpenAICompletionCall,
    completion_id: str,
    created: int,
    choices: list[schema.CompletionChoice],
    usage: OpenAIUsage | UnsetType | None,
) -> schema.TextCompletion:
    return schema.TextCompletion(id=completion_id, created=created, model=call.model, choices=choices, usage=usage)


def _logprobs(entries: Sequence[TokenLogprob], start: int, *, is_prompt: bool) -> schema.CompletionLogprobs:
    """Encode log-probabilities. The first token begins at `start`. That of a prompt has no log-probability."""
    logprobs: list[float | None] = [finite_logprob(entry.logprob) for entry in entries]
    candidates: list[dict[str, float] | None] = [_candidates(entry) for entry in entries]
    if is_prompt:
        logprobs[0] = candidates[0] = None
    offsets = itertools.accumulate(map(_length, entries), initial=start)
    return schema.CompletionLogprobs(
        tokens=[entry.token for entry in entries],
        token_logprobs=logprobs,
        top_logprobs=candidates,
        text_offset=[max(0, offset) for offset, _ in zip(offsets, entries, strict=False)],
    )


def _start_of(entries: Sequence[TokenLogprob], echo: str) -> int:
    """The position of the first token. It is negative if the tokenizer added a BOS token or a space before the text."""
    spelled = b"".join([entry.token_bytes for entry in entries])
    return -_characters(spelled[: max(0, spelled.find(echo.encode("utf-8", "replace")))])


def _length(entry: TokenLogprob) -> int:
    return _characters(entry.token_bytes)


def _characters(utf8: bytes) -> int:
    """The number of characters whose first byte is in `utf8`, which may begin and end within a character."""
    return sum(byte & 0xC0 != 0x80 for byte in utf8)


def _candidates(entry: TokenLogprob) -> dict[str, float]:
    """The likeliest tokens and the token itself, by their texts. Of tokens with the same text, the likeliest counts."""
    likeliest = {top.token: finite_logprob(top.logprob) for top in reversed(entry.top)}
    return {entry.token: finite_logprob(entry.logprob)} | likeliest


def _reason(reason: FinishReason) -> Literal["stop", "length"]:
    return "length" if reason == "length" else "stop"
