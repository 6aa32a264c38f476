"""Tool calls of which the parts are returned while the model generates them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from pico_jupyter.engine.formats.call_formats import CALL_FORMATS, CallFormat
from pico_jupyter.engine.formats.output_format import OutputFormat
from pico_jupyter.engine.text.delta_buffer import OutputDelta
from pico_jupyter.types import ToolCallDelta, ToolCallPart
from tests.engine.text.test_output_parser import HARMONY, ChunkVocabulary, fold, parser_for, splits

TOOLS = json.dumps([{"function": {"name": name}} for name in ("f", "g")])
ARGUMENTS = '{"a": "}\\"\\\\ {", "b": {"c": [1, {}]}}'


def format_of(title: str) -> CallFormat:
    return next(call for call in CALL_FORMATS if call.title == title)


def parse(chunks: Sequence[bytes], call_format: CallFormat) -> list[OutputDelta]:
    """The deltas of an answer. None of its tokens is held back once the arguments have begun."""
    vocabulary = ChunkVocabulary(
        OutputFormat(reasoning_open="<think>", reasoning_close="</think>", calls=(call_format,))
    )
    parser = parser_for(vocabulary, tools=TOOLS, calls_are_certain=True)
    deltas = [delta for chunk in chunks for delta in parser.push(vocabulary.token(chunk))]
    return [*deltas, *parser.flush()]


OBJECTS = f'<tool_call>\n{{"name": "f", "arguments": {ARGUMENTS}}}\n</tool_call>'
CASES = [
    ("JSON in tags", OBJECTS, [("f", ARGUMENTS)]),
    ("JSON in tags", f"<think>hm</think>\n\n{OBJECTS}", [("f", ARGUMENTS)]),
    ("JSON in tags", f"{OBJECTS}\n{OBJECTS}", [("f", ARGUMENTS)] * 2),
    ("JSON alone", '{"name": "g", "parameters": {}}', [("g", "{}")]),
    ("Llama 3", '<|python_tag|>{"name":"g","parameters":{"é":"東"}}', [("g", '{"é":"東"}')]),
    ("Mistral", f"[TOOL_CALLS]f[ARGS]{ARGUMENTS}", [("f", ARGUMENTS)]),
    ("Mistral", f"[TOOL_CALLS]f[ARGS]{ARGUMENTS}[TOOL_CALLS]g[ARGS]{{}}", [("f", ARGUMENTS), ("g", "{}")]),
    ("Functionary 3.1", f"<function=f>{ARGUMENTS}</function>", [("f", ARGUMENTS)]),
]


@pytest.mark.parametrize(("title", "text", "calls"), CASES)
def test_the_parts_are_the_call_however_the_text_is_split(title: str, text: str, calls: list[tuple[str, str]]) -> None:
    for chunks in splits(text):
        deltas = parse(chunks, format_of(title))
        assert fold(deltas).calls == calls
        assert not fold(deltas).text.strip()
        assert not any(isinstance(delta, ToolCallDelta) for delta in deltas)


@pytest.mark.parametrize(("title", "text", "calls"), CASES)
def test_a_part_is_returned_with_its_token(title: str, text: str, calls: list[tuple[str, str]]) -> None:
    parts = [
        delta for delta in parse([char.encode() for char in text], format_of(title)) if type(delta) is ToolCallPart
    ]
    assert len(parts) > len(calls[0][1]) / 2
    assert [part.name for part in parts if part.id] == [name for name, _ in calls]
    assert all(bool(part.id) is bool(part.name) for part in parts)


def test_a_message_to_a_tool_has_parts() -> None:
    call = f"<|channel|>commentary to=functions.f<|constrain|>json<|message|>{ARGUMENTS}"
    text = f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant{call}<|call|>"
    for chunks in splits(text):
        vocabulary = ChunkVocabulary(HARMONY)
        parser = parser_for(vocabulary, tools=TOOLS, calls_are_certain=True)
        deltas = [delta for chunk in chunks for delta in parser.push(vocabulary.token(chunk))]
        answer = fold([*deltas, *parser.flush()])
        assert (answer.calls, answer.reasoning, answer.text) == ([("f", ARGUMENTS)], "hm", "")
        assert parser.has_tool_calls
        assert not any(isinstance(delta, ToolCallDelta) for delta in deltas)


def test_a_call_that_is_cut_has_the_parts_so_far_and_no_text() -> None:
    text = OBJECTS[: OBJECTS.index('c": [')]
    for chunks in splits(text):
        answer = fold(parse(chunks, format_of("JSON in tags")))
        assert answer.calls == [("f", '{"a": "}\\"\\\\ {", "b": {"')]
        assert answer.text == ""


XML = "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>"


@pytest.mark.parametrize(
    ("title", "text"),
    [("JSON in tags", f"<think>hm</think>\n\n{OBJECTS}"), ("Qwen3-Coder", XML), ("JSON alone", CASES[3][1])],
)
def test_a_call_that_is_cut_anywhere_leaves_no_markup(title: str, text: str) -> None:
    for end in range(len(text)):
        answer = fold(parse([text[:end].encode()], format_of(title)))
        assert answer.text == ""
        assert len(answer.calls) <= 1


def test_a_call_without_certainty_is_whole() -> None:
    vocabulary = ChunkVocabulary(OutputFormat(calls=(format_of("JSON in tags"),)))
    parser = parser_for(vocabulary, tools=TOOLS)
    deltas = [*parser.push(vocabulary.token(OBJECTS.encode())), *parser.flush()]
    assert [type(delta) for delta in deltas] == [ToolCallDelta]
