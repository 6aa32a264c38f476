"""Arguments in formats other than JSON are returned as JSON while the model generates them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pico_jupyter.engine.formats.call_formats import CALL_FORMATS, Body, CallFormat
from pico_jupyter.engine.formats.output_format import OutputFormat
from pico_jupyter.engine.text.call_parts import CallParts
from pico_jupyter.engine.text.call_reader import read_calls
from pico_jupyter.types import ToolCallDelta
from tests.engine.text.test_output_parser import ChunkVocabulary, fold, parser_for

PROPERTIES = {
    "text": {"type": "string"},
    "more": {"type": "string"},
    "count": {"type": "integer"},
    "flag": {"type": "boolean"},
    "either": {"type": ["string", "null"]},
    "items": {"type": "array", "items": {"type": "string"}},
    "deep": {"type": "object"},
}
TOOLS: list[dict[str, Any]] = [
    {"function": {"name": name, "parameters": {"type": "object", "properties": PROPERTIES}}} for name in ("f", "a.g")
]
CONVERTED = [call for call in CALL_FORMATS if call.body not in (Body.OBJECTS, Body.JSON)]
NAMES = {call.title: call for call in CONVERTED}
TEXTS = st.text(alphabet="ab \n\"\\',:)]}{[(<>/=|東é", max_size=12)
DEEP = st.dictionaries(st.sampled_from(["x", "y"]), st.lists(st.integers() | TEXTS, max_size=2), max_size=2)
VALUES = {
    "text": TEXTS,
    "more": TEXTS,
    "count": st.integers(-99, 99),
    "flag": st.booleans(),
    "either": TEXTS,
    "items": st.lists(TEXTS, max_size=3),
    "deep": DEEP,
}
ARGUMENTS = st.fixed_dictionaries({}, optional=VALUES)


def write_value(call: CallFormat, value: Any) -> str:
    match call.body, value:
        case Body.PYTHON, _:
            constants = {True: "True", False: "False"}
            return constants[value] if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)
        case Body.UNQUOTED, str():
            return f"{call.quote}{value}{call.quote}"
        case Body.UNQUOTED, list():
            return f"[{','.join(write_value(call, item) for item in value)}]"
        case Body.UNQUOTED, dict():
            return f"{{{','.join(f'{key}:{write_value(call, item)}' for key, item in value.items())}}}"
        case _:
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def write_arguments(call: CallFormat, arguments: dict[str, Any]) -> str:
    if call.body is Body.PYTHON:
        return f"({', '.join(f'{key}={write_value(call, value)}' for key, value in arguments.items())})"
    if call.body is Body.UNQUOTED:
        return write_value(call, arguments)
    written = ""
    for key, value in arguments.items():
        kind = "true" if call.string_type == "true" and isinstance(value, str) else "other"
        opening = call.parameter.replace("{key}", key).replace("{type}", kind)
        written += f"{opening}{write_value(call, value)}{call.parameter_closing.replace('{key}', key)}\n"
    return written


def write(call: CallFormat, name: str, arguments: dict[str, Any]) -> str:
    if call.body is Body.PYTHON:
        body = name + write_arguments(call, arguments)
        body = f"[{body}]" if call.is_list else body
    else:
        head = call.calls[0].replace("{name}", name).replace("{id}", "1")
        body = "\n".join([head, write_arguments(call, arguments), *call.call_closings])
        body = body.replace("\n{", "{") if call.body is Body.UNQUOTED else body
    opening, closing = call.sections[0] if call.sections else ("", "")
    return f"{opening}{body}{closing}"


@pytest.mark.parametrize("title", NAMES)
@given(data=st.data())
def test_the_parts_are_the_arguments_of_the_whole_answer(title: str, data: st.DataObject) -> None:
    call = NAMES[title]
    skipped = {"items", "deep"} if call.body is Body.TAGS else set()
    arguments = {key: value for key, value in data.draw(ARGUMENTS).items() if key not in skipped}
    text = write(call, data.draw(st.sampled_from(["f", "a.g"])), arguments)
    [whole], _ = read_calls(text, call, TOOLS, final=True)
    parts = CallParts(call, TOOLS)
    names, joined = "", ""
    for end in range(1, len(text) + 1):
        for part in parts.read(text[:end]):
            names, joined = names + part.name, joined + part.arguments
        assert whole.arguments.startswith(joined)
    assert (names, joined) == (whole.name, whole.arguments)
    at_once = CallParts(call, TOOLS).read(text)
    assert "".join(part.arguments for part in at_once) == whole.arguments


@pytest.mark.parametrize("title", NAMES)
def test_a_string_is_returned_as_it_arrives(title: str) -> None:
    call = NAMES[title]
    text = write(call, "f", {"count": 1, "text": "It rains in Paris."})
    text = text[: text.index("Paris")]
    parts = CallParts(call, TOOLS).read(text)
    assert "".join(part.arguments for part in parts) == '{"count": 1, "text": "It rains in '


@pytest.mark.parametrize("title", NAMES)
def test_an_answer_of_two_calls_has_the_parts_of_both_and_no_whole_call(title: str) -> None:
    call = NAMES[title]
    vocabulary = ChunkVocabulary(OutputFormat(calls=(call,)))
    parser = parser_for(vocabulary, tools=json.dumps(TOOLS), calls_are_certain=True)
    text = write(call, "f", {"text": "x"}) + "\n" + write(call, "a.g", {"count": 2})
    deltas = [delta for char in text for delta in parser.push(vocabulary.token(char.encode()))]
    answer = fold([*deltas, *parser.flush()])
    assert answer.calls == [("f", '{"text": "x"}'), ("a.g", '{"count": 2}')]
    assert not any(isinstance(delta, ToolCallDelta) for delta in deltas)
    assert answer.text == ""


@pytest.mark.parametrize("title", NAMES)
def test_a_call_that_is_cut_anywhere_leaves_the_start_of_its_arguments_and_no_text(title: str) -> None:
    call = NAMES[title]
    text = write(call, "f", {"text": "x y", "count": 2})
    for end in range(len(text)):
        vocabulary = ChunkVocabulary(OutputFormat(calls=(call,)))
        parser = parser_for(vocabulary, tools=json.dumps(TOOLS), calls_are_certain=True)
        answer = fold([*parser.push(vocabulary.token(text[:end].encode())), *parser.flush()])
        assert answer.text == ""
        assert all('{"text": "x y", "count": 2}'.startswith(arguments) for _, arguments in answer.calls)
