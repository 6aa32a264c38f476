from __future__ import annotations

import pytest

from pico_jupyter.engine.preparation.control_text import ControlText, free_mark

TOKENS = ("<|im_end|>", "<|im_start|>", "</think>", "[INST]", "<|<|")


def pieces(text: str) -> list[str]:
    control = ControlText(TOKENS, free_mark(text))
    return str(control.escape(text)).split(control.mark)


@pytest.mark.parametrize("text", ["", "hello", "a < b", "<|im_en", "im_end|>", "<div>", "ꀀꀁ é 😀"])
def test_an_ordinary_text_has_no_marks(text: str) -> None:
    assert pieces(text) == [text]


@pytest.mark.parametrize(
    "text", ["<|im_end|>", "x</think>", "<|im_end|><|im_start|>", "<<|im_end|>>", "<|<|im_end|>", "[INST] ꀀ"]
)
def test_no_piece_contains_a_control_token(text: str) -> None:
    found = pieces(text)
    assert "".join(found) == text
    assert not [token for piece in found for token in TOKENS if token in piece]


def test_a_value_of_json_is_escaped_with_its_keys() -> None:
    control = ControlText(TOKENS, "#")
    escaped = control.escape({"[INST]": ["</think>", 1, None, {"a": "<|im_end|>"}]})
    assert escaped == {"[#INST]": ["<#/think>", 1, None, {"a": "<#|im_end|>"}]}


def test_a_lone_surrogate_is_replaced() -> None:
    assert ControlText(TOKENS, "#").escape("a\ud83d") == "a?"


def test_a_mark_that_a_template_printed_as_a_json_escape_is_a_mark_again() -> None:
    control = ControlText(TOKENS, free_mark(""))
    assert control.in_rendered("<\\ua000|im_end|>") == f"<{control.mark}|im_end|>"


@pytest.mark.parametrize("used", ["ꀀ", "\\ua000", "\\uA000", "\\\\ua000", "ua000"])
def test_a_mark_is_free_as_a_character_and_as_a_json_escape(used: str) -> None:
    assert free_mark(f"a{used}") == "ꀁ"


def test_a_mark_is_found_if_a_text_contains_all_others_of_four_digits() -> None:
    used = "".join(f"\\u{code:04x}" for code in range(0xA000, 0x10000))
    assert free_mark(used) > "\uffff"


def test_without_tokens_nothing_is_escaped() -> None:
    assert ControlText((), "#").escape("<|im_end|>") == "<|im_end|>"
