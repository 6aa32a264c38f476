from typing import Any

import pytest

from pico_jupyter.client import Choice
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.reasoning import InlineReasoning, fold_inline, read_reasoning_output
from pico_jupyter.types import ToolCall
from tests.dialects.samples import chat_call, fields, ollama_chat, ollama_generate


@pytest.mark.parametrize(
    ("trait", "members", "asked", "output"),
    [
        ("separate", {}, False, "separate"),
        ("inline", {}, True, "inline"),
        ("auto", {}, False, "inline"),
        ("auto", {}, True, "separate"),
        ("separate", {"include_reasoning": False}, False, "hidden"),
        ("inline", {"include_reasoning": False, "separate_reasoning": True}, False, "hidden"),
        ("separate", {"reasoning": {"exclude": True}}, False, "hidden"),
        ("inline", {"reasoning": {"exclude": False}}, False, "inline"),
        ("separate", {"reasoning_format": "hidden"}, False, "hidden"),
        ("separate", {"reasoning_format": "raw"}, False, "inline"),
        ("separate", {"reasoning_format": "none"}, False, "inline"),
        ("inline", {"reasoning_format": "parsed"}, False, "separate"),
        ("inline", {"reasoning_format": "deepseek"}, False, "separate"),
        ("inline", {"reasoning_format": "auto"}, False, "inline"),
        ("inline", {"reasoning_split": True}, False, "separate"),
        ("separate", {"reasoning_split": False}, False, "inline"),
        ("inline", {"include_reasoning": True}, False, "separate"),
        ("auto", {"separate_reasoning": True}, False, "separate"),
        ("auto", {"separate_reasoning": False}, True, "inline"),
        ("separate", {"separate_reasoning": False, "include_reasoning": True}, False, "inline"),
    ],
)
def test_the_place_of_reasoning(trait: Any, members: dict[str, object], asked: bool, output: str) -> None:
    settings = DialectSettings(reasoning_output=trait)
    assert read_reasoning_output(fields(**members), settings, asked=asked) == output


def test_auto_is_separate_for_ollama_when_think_is_truthy() -> None:
    settings = DialectSettings(reasoning_output="auto")
    assert ollama_chat(settings=settings, think=True).reasoning_output == "separate"
    assert ollama_generate(settings=settings, think="high").reasoning_output == "separate"
    assert ollama_chat(settings=settings, think=False).reasoning_output == "inline"
    assert ollama_chat(settings=settings).reasoning_output == "inline"


def test_auto_is_inline_for_openai_unless_requested() -> None:
    settings = DialectSettings(reasoning_output="auto")
    assert chat_call(settings=settings, think=True).reasoning_output == "inline"
    assert chat_call(settings=settings, include_reasoning=True).reasoning_output == "separate"


def test_tags_are_deltas_of_their_own() -> None:
    inline = InlineReasoning()
    assert inline.reasoning("Let me") == ["<think>", "\nLet me"]
    assert inline.reasoning(" see.\n") == [" see.\n"]
    assert inline.text("47") == ["</think>", "\n\n47"]
    assert inline.text(".") == ["."]
    assert inline.finish("stop") == []


def test_line_breaks_of_the_model_are_not_doubled() -> None:
    inline = InlineReasoning()
    assert inline.reasoning("\nhm") == ["<think>", "\nhm"]
    assert inline.text("\n\nok") == ["</think>", "\n\nok"]


def test_reasoning_cut_by_the_token_limit_stays_open() -> None:
    inline = InlineReasoning()
    inline.reasoning("hm")
    assert inline.finish("length") == []


def test_reasoning_that_ended_without_an_answer_is_closed() -> None:
    inline = InlineReasoning()
    inline.reasoning("hm")
    assert inline.finish("stop") == ["</think>"]


def test_text_without_reasoning_has_no_tags() -> None:
    inline = InlineReasoning()
    assert [*inline.text("hi"), *inline.finish("stop")] == ["hi"]


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        (Choice(text="47", reasoning="12 + 35"), "<think>\n12 + 35</think>\n\n47"),
        (Choice(text="47"), "47"),
        (Choice(reasoning="12 +", finish_reason="length"), "<think>\n12 +"),
        (
            Choice(reasoning="hm", tool_calls=[ToolCall("c", "f", "{}")], finish_reason="tool_calls"),
            "<think>\nhm</think>",
        ),
        (Choice(), ""),
    ],
)
def test_a_whole_answer_is_folded_the_same_way(choice: Choice, text: str) -> None:
    assert fold_inline(choice) == text


def test_inline_reasoning_has_a_readable_repr() -> None:
    inline = InlineReasoning()
    inline.reasoning("hm")
    assert repr(inline) == "<InlineReasoning open>"
