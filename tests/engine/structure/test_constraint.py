"""A row constraint limits tokens by a grammar, after the reasoning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llguidance
import llguidance.hf
import pytest

from pico_jupyter.engine.catalog.catalog import BUILTIN_DIR
from pico_jupyter.engine.structure.constraint import ReasoningGate, RowConstraint, Trigger, fill_masks
from pico_jupyter.engine.text.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(BUILTIN_DIR / "pico-tiny")


@pytest.fixture(scope="module")
def ll_tokenizer(tokenizer: Tokenizer) -> Any:
    return llguidance.hf.from_tokenizer(tokenizer.fast_tokenizer, eos_token=sorted(tokenizer.eos_token_ids))


@pytest.fixture
def constrain(tokenizer: Tokenizer, ll_tokenizer: Any) -> Callable[..., RowConstraint]:
    def new(grammar: str = "", **options: Any) -> RowConstraint:
        if grammar:
            options["matcher"] = llguidance.LLMatcher(ll_tokenizer, grammar)
        return RowConstraint(
            vocab_size=ll_tokenizer.vocab_size,
            token_bytes=tokenizer.token_bytes,
            eos_tokens=sorted(tokenizer.eos_token_ids),
            **options,
        )

    return new


@pytest.fixture
def gate(tokenizer: Tokenizer) -> Callable[..., ReasoningGate]:
    def new(*, started: bool, limit: int | None = None) -> ReasoningGate:
        encode = tokenizer.encode
        return ReasoningGate(
            opening=tuple(encode("<think>", add_special_tokens=False)),
            closing=b"</think>",
            closing_tokens=tuple(encode("</think>", add_special_tokens=False)),
            started=started,
            limit=limit,
            forbidden=tuple(encode("<tool_call>", add_special_tokens=False)),
            spacing=tuple(encode("\n", add_special_tokens=False)),
        )

    return new


def allowed(constraint: RowConstraint) -> set[int]:
    """The tokens that a row may sample next."""
    masks, _ = fill_masks([constraint])
    return {token for token in range(constraint.vocab_size) if masks[0][token >> 5] >> (token & 31) & 1}


def follow(constraint: RowConstraint, tokens: Sequence[int]) -> None:
    """Consume tokens, each of which must be allowed."""
    for token in tokens:
        assert token in allowed(constraint), token
        constraint.consume(token)


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


YES_OR_NO = 'start: "yes" | "no"'


def test_only_tokens_of_the_grammar_are_allowed(constrain: Callable[..., RowConstraint], tokenizer: Tokenizer) -> None:
    constraint = constrain(YES_OR_NO)
    firsts = {tokenizer.token_bytes(token)[:1] for token in allowed(constraint)}
    assert firsts == {b"y", b"n"}
    follow(constraint, ids(tokenizer, "yes"))
    assert allowed(constraint) == tokenizer.eos_token_ids


def test_rows_without_excluded_tokens_are_reported(constrain: Callable[..., RowConstraint]) -> None:
    _, excludes = fill_masks([constrain(YES_OR_NO), constrain()])
    assert excludes == [True, False]


def test_the_grammar_begins_after_reasoning_that_the_prompt_has_started(
    constrain: Callable[..., RowConstraint], gate: Callable[..., ReasoningGate], tokenizer: Tokenizer
) -> None:
    constraint = constrain(YES_OR_NO, gate=gate(started=True))
    follow(constraint, ids(tokenizer, "Let me think.\n</think>\nno"))
    assert allowed(constraint) == tokenizer.eos_token_ids


def test_a_row_may_reason_first_or_answer_at_once(
    constrain: Callable[..., RowConstraint], gate: Callable[..., ReasoningGate], tokenizer: Tokenizer
) -> None:
    for text in ("<think>why?</think>yes", "yes"):
        constraint = constrain(YES_OR_NO, gate=gate(started=False))
        follow(constraint, ids(tokenizer, text))
        assert allowed(constraint) == tokenizer.eos_token_ids


def test_reasoning_before_a_grammar_neither_ends_the_answer_nor_opens_a_call(
    constrain: Callable[..., RowConstraint], gate: Callable[..., ReasoningGate], tokenizer: Tokenizer
) -> None:
    now = allowed(constrain(YES_OR_NO, gate=gate(started=True)))
    assert not now & (tokenizer.eos_token_ids | set(ids(tokenizer, "<tool_call>")))
    assert set(ids(tokenizer, "</think>")) <= now


@pytest.mark.parametrize("started", [True, False])
def test_reasoning_is_closed_at_its_limit(
    constrain: Callable[..., RowConstraint], gate: Callable[..., ReasoningGate], tokenizer: Tokenizer, started: bool
) -> None:
    constraint = constrain(gate=gate(started=started, limit=2))
    if not started:
        follow(constraint, ids(tokenizer, "<think>"))
    follow(constraint, ids(tokenizer, "a b c")[:2])
    assert allowed(constraint) == set(ids(tokenizer, "</think>"))
    follow(constraint, ids(tokenizer, "</think>"))
    assert len(allowed(constraint)) == constraint.vocab_size


def test_a_limit_of_zero_allows_no_reasoning(
    constrain: Callable[..., RowConstraint], gate: Callable[..., ReasoningGate], tokenizer: Tokenizer
) -> None:
    constraint = constrain(gate=gate(started=True, limit=0))
    assert allowed(constraint) == set(ids(tokenizer, "</think>"))


def test_a_grammar_may_begin_where_a_call_is_opened(
    constrain: Callable[..., RowConstraint], tokenizer: Tokenizer, ll_tokenizer: Any
) -> None:
    (closing,) = ids(tokenizer, "</tool_call>")
    matcher = llguidance.LLMatcher(ll_tokenizer, f'start: "ok" <[{closing}]>')
    constraint = constrain(trigger=Trigger({b"<tool_call>": matcher}))
    follow(constraint, ids(tokenizer, "I call it: <tool_call>"))
    assert {tokenizer.token_bytes(token)[:1] for token in allowed(constraint)} == {b"o"}
    follow(constraint, ids(tokenizer, "ok</tool_call> and on"))
    assert len(allowed(constraint)) == constraint.vocab_size


def test_the_answer_may_end_after_one_call(
    constrain: Callable[..., RowConstraint], tokenizer: Tokenizer, ll_tokenizer: Any
) -> None:
    matcher = llguidance.LLMatcher(ll_tokenizer, 'start: "ok"')
    constraint = constrain(trigger=Trigger({b"<tool_call>": matcher}, once=True))
    follow(constraint, ids(tokenizer, "<tool_call>ok"))
    assert allowed(constraint) == tokenizer.eos_token_ids


def test_a_restarted_row_continues_as_if_it_had_not_been_removed(
    constrain: Callable[..., RowConstraint], gate: Callable[..., ReasoningGate], tokenizer: Tokenizer
) -> None:
    constraint = constrain('start: "yes, " /[a-z]{3}/', gate=gate(started=False))
    tokens = ids(tokenizer, "<think>so</think>yes, ")
    follow(constraint, tokens)
    expected = allowed(constraint)
    for count in range(len(tokens)):
        constraint.restart(tokens[:count])
        follow(constraint, tokens[count:])
        assert allowed(constraint) == expected
