"""RowConstraint: decides which tokens one row may sample next, by a grammar and a limit on its reasoning.

Invariants:
- A constraint belongs to one row and moves with it. It consumes each sampled token of the row once, in order.
- restart() restores the state after given tokens, so a preempted row continues where it was.
- The grammar begins after the reasoning. Until then, the model cannot end the answer or open a tool call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import llguidance
import llguidance.numpy
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.int32]

# Fills the masks of several rows at the same time.
_executor = llguidance.LLExecutor()


@dataclass(frozen=True, slots=True)
class ReasoningGate:
    """How a row reasons before its grammar begins.

    - `started`: the prompt ends inside the reasoning. Otherwise the row may begin with the tokens `opening`.
    - `closing`: the bytes that end the reasoning; `closing_tokens` are its tokens.
    - `limit`: after this number of tokens of reasoning, `closing` is forced; None: no limit.
    - `forbidden`: tokens that reasoning must not contain.
    - `spacing`: tokens of whitespace. One of them may separate the reasoning from the answer.
    """

    opening: tuple[int, ...]
    closing: bytes
    closing_tokens: tuple[int, ...]
    started: bool
    limit: int | None = None
    forbidden: tuple[int, ...] = ()
    spacing: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Trigger:
    """A grammar that begins when the model has written one of `openings`.

    `openings` maps the bytes of each opening to the matcher of the text after it. With `once`, the answer ends after
    this text.
    """

    openings: dict[bytes, llguidance.LLMatcher] = field(default_factory=dict)
    once: bool = False


class RowConstraint:
    """Limits the tokens of one row of a model with `vocab_size` tokens.

    `matcher` is the grammar of the whole answer. With None, only `trigger` and `gate` limit the answer. `token_bytes`
    returns the bytes of a token. `eos_tokens` end the answer.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        token_bytes: Callable[[int], bytes],
        eos_tokens: Sequence[int],
        matcher: llguidance.LLMatcher | None = None,
        gate: ReasoningGate | None = None,
        trigger: Trigger | None = None,
    ) -> None:
        self.vocab_size = vocab_size
        self._token_bytes = token_bytes
        self._eos_tokens = tuple(eos_tokens)
        self._whole = matcher
        self._gate = gate
        self._trigger = trigger
        self.restart(())

    def __repr__(self) -> str:
        state = "reasoning" if self._is_reasoning else "opening" if self._is_opening else "answer"
        return f"<RowConstraint [{state} | {self.consumed} tokens]>"

    def restart(self, tokens: Sequence[int]) -> None:
        """Restore the state after the `tokens` that the row has sampled."""
        self.consumed = 0
        self._reasoning_tokens = 0
        self._tail = b""
        self._forced: list[int] = []
        self._opened = 0
        self._is_opening = self._gate is not None and not self._gate.started
        self._is_reasoning = self._gate is not None and self._gate.started
        self._allows_spacing = False
        self._has_ended = False
        self.matcher = None if self._whole is None else self._whole.deep_copy()
        if self._is_reasoning:
            self._limit_reasoning()
        for token in tokens:
            self.consume(token)

    @property
    def error(self) -> str:
        """Why the grammar can allow no further token; "" if it has not failed."""
        return self.matcher.get_error() if self.matcher is not None and self.matcher.is_error() else ""

    @property
    def active_matcher(self) -> llguidance.LLMatcher | None:
        """The matcher that limits the next token; None without one."""
        if self._forced or self._is_reasoning or self._has_ended or (self._is_opening and self._opened):
            return None
        return None if self.matcher is None or self.matcher.is_stopped() else self.matcher

    def consume(self, token: int) -> None:
        """Update the state with a sampled token."""
        self.consumed += 1
        if self._forced and token == self._forced[0]:
            self._forced.pop(0)
        if self._is_opening:
            self._consume_opening(token)
        elif self._is_reasoning:
            self._consume_reasoning(token)
        elif self._allows_spacing and self._gate is not None and token in self._gate.spacing:
            self._allows_spacing = False
        elif self.matcher is not None and not self.matcher.is_stopped():
            self._allows_spacing = False
            self.matcher.consume_token(token)
            self._end_triggered_call()
        elif self._trigger is not None:
            self._watch_for_call(token)

    def adjust(self, mask: Mask) -> bool:
        """Complete the mask that active_matcher has filled. Returns whether it excludes any token."""
        if self._forced:
            return _allow_only(mask, self._forced[:1])
        if self._is_opening and self._opened:
            assert self._gate is not None
            return _allow_only(mask, self._gate.opening[self._opened : self._opened + 1])
        if self._is_reasoning:
            return self._adjust_reasoning(mask)
        matcher = self.active_matcher
        if matcher is None:
            is_over = self._has_ended or (self._whole is not None)
            return _allow_only(mask, self._eos_tokens) if is_over else False
        if self._is_opening and self._gate is not None and self._gate.opening:
            _allow(mask, self._gate.opening[:1])
        if self._allows_spacing and self._gate is not None:
            _allow(mask, self._gate.spacing)
        if matcher.is_accepting():
            _allow(mask, self._eos_tokens)
        return True

    def _adjust_reasoning(self, mask: Mask) -> bool:
        assert self._gate is not None
        if self._whole is None and not self._gate.forbidden:
            return False
        mask.fill(-1)
        _forbid(mask, (*self._gate.forbidden, *(self._eos_tokens if self._whole is not None else ())))
        return True

    def _consume_opening(self, token: int) -> None:
        assert self._gate is not None
        opening = self._gate.opening
        if self._opened < len(opening) and token == opening[self._opened]:
            self._opened += 1
            if self._opened == len(opening):
                self._is_opening, self._is_reasoning = False, True
                self._limit_reasoning()
            return
        self._is_opening = False
        if self.matcher is not None:
            self.matcher.consume_token(token)
        elif self._trigger is not None:
            self._watch_for_call(token)

    def _consume_reasoning(self, token: int) -> None:
        assert self._gate is not None
        closing = self._gate.closing
        self._reasoning_tokens += 1
        self._tail = (self._tail + self._token_bytes(token))[-len(closing) - 64 :]
        if closing in self._tail:
            self._is_reasoning, self._tail, self._forced, self._allows_spacing = False, b"", [], True
            return
        self._limit_reasoning()

    def _limit_reasoning(self) -> None:
        assert self._gate is not None
        limit = self._gate.limit
        if limit is not None and self._reasoning_tokens >= limit and not self._forced:
            self._forced = list(self._gate.closing_tokens)

    def _watch_for_call(self, token: int) -> None:
        assert self._trigger is not None
        self._tail = (self._tail + self._token_bytes(token))[-256:]
        for opening, matcher in self._trigger.openings.items():
            at = self._tail.find(opening)
            if at >= 0 and not self._tail[at + len(opening) :].strip():
                self.matcher = matcher.deep_copy()
                self._tail = b""
                return

    def _end_triggered_call(self) -> None:
        if self._whole is None and self.matcher is not None and self.matcher.is_stopped():
            self.matcher = None
            self._has_ended = self._trigger is not None and self._trigger.once


def fill_masks(constraints: Sequence[RowConstraint]) -> tuple[Mask, list[bool]]:
    """The masks of the next tokens, (rows, words), and whether each excludes any token.

    Bit i % 32 of word i // 32 is set if token i is allowed.
    """
    masks = llguidance.numpy.allocate_token_bitmask(len(constraints), max(one.vocab_size for one in constraints))
    matchers = [
        (matcher, index) for index, one in enumerate(constraints) if (matcher := one.active_matcher) is not None
    ]
    if matchers:
        llguidance.numpy.fill_next_token_bitmask_par(_executor, matchers, masks)
    return masks, [one.adjust(masks[index]) for index, one in enumerate(constraints)]


def _allow(mask: Mask, tokens: Sequence[int]) -> None:
    words = mask.view(np.uint32)
    for token in tokens:
        words[token >> 5] |= np.uint32(1 << (token & 31))


def _forbid(mask: Mask, tokens: Sequence[int]) -> None:
    words = mask.view(np.uint32)
    for token in tokens:
        words[token >> 5] &= np.uint32(~(1 << (token & 31)) & 0xFFFFFFFF)


def _allow_only(mask: Mask, tokens: Sequence[int]) -> bool:
    mask.fill(0)
    _allow(mask, tokens)
    return True
