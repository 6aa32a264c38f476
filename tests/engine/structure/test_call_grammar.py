from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest

from pico_jupyter.engine.formats.call_formats import CALL_FORMATS, Body, CallFormat
from pico_jupyter.engine.formats.output_format import FUNCTIONARY, HARMONY, MUSE
from pico_jupyter.engine.structure.grammar import NotForcible, call_grammar, message_call_grammar
from pico_jupyter.engine.text.call_reader import read_calls
from tests.engine.structure.grammar_vocabulary import ByteVocabulary
from tests.property_examples import examples

COLOR = {"enum": ["red", "green", "5"]}
SIZE = {
    "type": "object",
    "properties": {"width": {"type": "integer"}, "unit": {"$ref": "#/$defs/Unit"}},
    "required": ["width"],
    "additionalProperties": False,
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "metric": {"type": "boolean"},
            "factor": {"type": "number"},
        },
        "required": ["city"],
    },
    "write": {
        "type": "object",
        "properties": {
            "mode": {"type": "string", "enum": ["r", "w", "5", "read it"]},
            "path": {"type": "string", "pattern": "^/[a-z/]+$"},
            "text": {"type": "string", "minLength": 2, "maxLength": 9},
            "day": {"type": "string", "format": "date"},
        },
        "required": ["path", "day"],
    },
    "note": {
        "type": "object",
        "properties": {
            "text": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "level": {"enum": [1, "1", None, "low", "low or so"]},
        },
    },
    "now": {"type": "object", "properties": {}},
}
NESTED_PARAMETERS: dict[str, dict[str, Any]] = {
    "search": {
        "type": "object",
        "properties": {
            "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
            "filter": {"type": "object", "properties": {"deep": {"type": "array", "items": {"type": "boolean"}}}},
            "any": {"type": ["object", "number", "boolean"]},
        },
        "required": ["tags"],
    },
    "paint": {
        "type": "object",
        "properties": {
            "color": {"$ref": "#/$defs/Color"},
            "shade": {"anyOf": [{"$ref": "#/$defs/Color"}, {"type": "null"}]},
            "size": {"$ref": "#/$defs/Size"},
        },
        "required": ["size"],
        "$defs": {"Color": COLOR, "Size": SIZE, "Unit": {"type": "string", "enum": ["cm", "in"]}},
    },
    "plant": {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/Tree"}},
        "required": ["tree"],
        "$defs": {
            "Tree": {
                "type": "object",
                "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}, "maxItems": 2}},
                "required": ["children"],
                "additionalProperties": False,
            }
        },
    },
}
# The tokens of each family that its tags and closing texts are made of.
SPECIAL: dict[str, tuple[str, ...]] = {
    "DSML": ("｜DSML｜",),
    "Kimi K3": ("<|open|>", "<|close|>", "<|sep|>"),
    "Gemma 4": ("<|tool_call>", "<tool_call|>", '<|"|>'),
    "FunctionGemma": ("<start_function_call>", "<end_function_call>", "<escape>"),
    "Mistral": ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
    "MiniMax M3": ("]<]minimax[>[",),
    "GLM": ("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    "Qwen3-Coder": ("<tool_call>", "</tool_call>"),
    "DeepSeek": (
        *("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
        *("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"),
    ),
    "Kimi K2": (
        *("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
        *("<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"),
    ),
    "Solar": (
        *("<|tool_calls|>", "<|calls|>", "<|tool_call:begin|>", "<|tool_call:name|>"),
        *("<|tool_call:args|>", "<|tool_call:end|>"),
    ),
}
WEATHER = {"city": "Paris", "days": 2}


def tools(*, nested: bool) -> list[dict[str, Any]]:
    schemas = {**PARAMETERS, **(NESTED_PARAMETERS if nested else {})}
    return [{"type": "function", "function": {"name": name, "parameters": s}} for name, s in schemas.items()]


def tool(name: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name, "parameters": parameters}}]


def vocabulary(call_format: CallFormat, *, has_tokens: bool) -> ByteVocabulary:
    texts = [text for section in call_format.sections for text in section]
    special = SPECIAL.get(call_format.title, tuple(filter(None, texts))) if has_tokens else ()
    keys = [key for schema in PARAMETERS.values() for key in schema["properties"]]
    closings = sorted({call_format.parameter_closing.replace("{key}", key) for key in keys})
    return ByteVocabulary(special, [*texts, *closings, call_format.quote, *call_format.call_closings])


def read_all(text: str, call_format: CallFormat, request_tools: Sequence[dict[str, Any]]) -> list[tuple[str, Any]]:
    """All calls in a text that holds nothing else."""
    calls = []
    while text := text.lstrip():
        found, end = read_calls(text, call_format, request_tools, final=True)
        calls += [(call.name, json.loads(call.arguments)) for call in found]
        text = text[end:]
    return calls


FORMATS = pytest.mark.parametrize("call_format", CALL_FORMATS, ids=[call_format.title for call_format in CALL_FORMATS])


@FORMATS
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("has_tokens", [False, True])
def test_what_a_grammar_writes_is_read_back_as_calls_with_valid_arguments(
    call_format: CallFormat, several: bool, has_tokens: bool
) -> None:
    request_tools = tools(nested=call_format.body is not Body.TAGS)
    schemas = {item["function"]["name"]: item["function"]["parameters"] for item in request_tools}
    vocab = vocabulary(call_format, has_tokens=has_tokens)
    grammar = call_grammar(call_format, request_tools, vocab.literal, several=several, opened=False)
    for seed in range(examples(12)):
        text = vocab.walk(grammar, random.Random(seed))
        calls = read_all(text, call_format, request_tools)
        assert len(calls) >= 1 if several else len(calls) == 1, text
        for name, arguments in calls:
            jsonschema.validate(arguments, schemas[name])


# A call as each family writes it: those of its template, with line breaks and spaces of the model.
WRITTEN = {
    "JSON in tags": '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris", "days": 2}}\n</tool_call>',
    "JSON alone": '{"name": "weather", "parameters": {"city": "Paris", "days": 2}}',
    "Python alone": '[weather(city="Paris", days=2)]',
    "DSML": '<｜DSML｜function_calls>\n<｜DSML｜invoke name="weather">\n<｜DSML｜parameter name="city" string="true">'
    'Paris</｜DSML｜parameter>\n<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n'
    "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
    "DeepSeek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
    '{"city": "Paris", "days": 2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "Kimi K2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"
    '{"city": "Paris", "days": 2}<|tool_call_end|><|tool_calls_section_end|>',
    "Kimi K3": '<|open|>tools<|sep|><|open|>call tool="weather" index="1"<|sep|><|open|>argument key="city" '
    'type="string"<|sep|>Paris<|close|>argument<|sep|><|open|>argument key="days" type="number"<|sep|>2<|close|>'
    "argument<|sep|><|close|>call<|sep|><|close|>tools<|sep|>",
    "Gemma 4": '<|tool_call>call:weather{city:<|"|>Paris<|"|>,days:2}<tool_call|>',
    "FunctionGemma": "<start_function_call>call:weather{city:<escape>Paris<escape>,days:2}<end_function_call>",
    "Mistral": '[TOOL_CALLS]weather[ARGS]{"city": "Paris", "days": 2}',
    "MiniMax M3": ']<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name="weather">]<]minimax[>[<city>Paris]<]minimax[>['
    "</city>]<]minimax[>[<days>2]<]minimax[>[</days>]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
    "MiniMax M2": '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Paris</parameter>\n'
    '<parameter name="days">2</parameter>\n</invoke>\n</minimax:tool_call>',
    "Hunyuan 3": "<tool_calls:opensource>\n<tool_call:opensource>weather<tool_sep:opensource>\n<arg_key:opensource>city"
    "</arg_key:opensource>\n<arg_value:opensource>Paris</arg_value:opensource>\n<arg_key:opensource>days"
    "</arg_key:opensource>\n<arg_value:opensource>2</arg_value:opensource>\n</tool_call:opensource>\n"
    "</tool_calls:opensource>",
    "GLM": "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n"
    "<arg_value>2</arg_value>\n</tool_call>",
    "Seed": "<seed:tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n2\n"
    "</parameter>\n</function>\n</seed:tool_call>",
    "Functionary 3.1": '<function=weather>{"city": "Paris", "days": 2}</function>',
    "Qwen3-Coder": "<tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n2\n"
    "</parameter>\n</function>\n</tool_call>",
    "MiniCPM 5": '<function name="weather"><param name="city">Paris</param><param name="days">2</param></function>',
    "Solar": "<|tool_calls|><|tool_call:begin|>id0<|tool_call:name|>weather<|tool_call:args|>"
    '{"city": "Paris", "days": 2}<|tool_call:end|><|calls|>',
    "Command R7B": '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "weather", "parameters": {"city": "Paris", '
    '"days": 2}}]<|END_ACTION|>',
    "Apertus": '<|tools_prefix|>[{"weather": {"city": "Paris", "days": 2}}]<|tools_suffix|>',
    "LFM2": '<|tool_call_start|>[weather(city="Paris", days=2)]<|tool_call_end|>',
    "Olmo 3": '<function_calls>\nweather(city="Paris", days=2)\n</function_calls>',
    "Firefunction": 'functools[{"name": "weather", "arguments": {"city": "Paris", "days": 2}}]',
    "Granite 3 and Phi-4-mini": '<|tool_call|>[{"name": "weather", "arguments": {"city": "Paris", "days": 2}}]'
    "<|/tool_call|>",
    "Llama 3": '{"name": "weather", "parameters": {"city": "Paris", "days": 2}}',
}


@pytest.mark.parametrize(
    ("title", "has_tokens"),
    # Mistral's vocabulary always has the tokens of calls.
    [(title, has_tokens) for title in WRITTEN for has_tokens in (False, True) if has_tokens or title != "Mistral"],
)
def test_a_grammar_accepts_a_call_as_the_family_writes_it(title: str, has_tokens: bool) -> None:
    call_format = format_named(title)
    vocab = vocabulary(call_format, has_tokens=has_tokens)
    request_tools = tools(nested=False)
    text = WRITTEN[call_format.title]
    for several in (False, True):
        assert vocab.accepts(
            call_grammar(call_format, request_tools, vocab.literal, several=several, opened=False), text
        )
    assert read_all(text, call_format, request_tools) == [("weather", WEATHER)]


@FORMATS
@pytest.mark.parametrize("has_tokens", [False, True])
def test_an_opened_grammar_continues_after_the_opening_text(call_format: CallFormat, has_tokens: bool) -> None:
    vocab = vocabulary(call_format, has_tokens=has_tokens)
    request_tools = tools(nested=False)
    opening = call_format.needles[0] if call_format.needles else ""
    grammar = call_grammar(call_format, request_tools, vocab.literal, several=True, opened=True)
    for seed in range(examples(8)):
        assert read_all(opening + vocab.walk(grammar, random.Random(seed)), call_format, request_tools)


def format_named(title: str) -> CallFormat:
    return next(call_format for call_format in CALL_FORMATS if call_format.title == title)


QWEN = format_named("Qwen3-Coder")


@pytest.mark.parametrize(
    ("title", "parameters", "message"),
    [
        ("Qwen3-Coder", {"properties": {"a": {"type": "string", "format": "iri"}}}, "format 'iri'"),
        ("Qwen3-Coder", {"properties": {"a b": {"type": "string"}}}, "'a b'"),
        ("Qwen3-Coder", {"properties": {}, "minProperties": 1}, "'minProperties'"),
        ("Qwen3-Coder", {"anyOf": [{"required": ["a"]}], "properties": {"a": {}}}, "'anyOf'"),
        ("Gemma 4", {"properties": {"a": {"type": "array", "uniqueItems": True}}}, "'uniqueItems'"),
        ("LFM2", {"properties": {"from": {"type": "integer"}}}, "'from'"),
        ("MiniMax M3", {"properties": {"a": {"type": "array"}}}, "'a'"),
    ],
)
def test_a_schema_that_a_format_cannot_enforce_is_refused_by_name(title: str, parameters: Any, message: str) -> None:
    call_format = format_named(title)
    vocab = vocabulary(call_format, has_tokens=True)
    with pytest.raises(NotForcible, match=message):
        call_grammar(call_format, tool("f", parameters), vocab.literal, several=False, opened=False)


@pytest.mark.parametrize("title", ["JSON in tags", "Qwen3-Coder"])
def test_a_format_of_arguments_that_json_schema_does_not_define_has_no_effect(title: str) -> None:
    call_format = format_named(title)
    vocab = vocabulary(call_format, has_tokens=True)
    request_tools = tool("f", {"properties": {"a": {"type": "string", "format": "path"}}, "required": ["a"]})
    grammar = call_grammar(call_format, request_tools, vocab.literal, several=False, opened=False)
    assert read_all(vocab.walk(grammar, random.Random(1)), call_format, request_tools)


def test_a_date_outside_json_is_a_day_of_the_calendar() -> None:
    call_format = format_named("Qwen3-Coder")
    vocab = vocabulary(call_format, has_tokens=True)
    request_tools = tool("f", {"properties": {"a": {"type": "string", "format": "date"}}, "required": ["a"]})
    grammar = call_grammar(call_format, request_tools, vocab.literal, several=False, opened=False)
    call = "<tool_call>\n<function=f>\n<parameter=a>\n2024-02-29\n</parameter>\n</function>\n</tool_call>"
    assert vocab.accepts(grammar, call)
    assert not vocab.accepts(grammar, call.replace("2024-02-29", "2023-02-31"))


def test_the_arguments_of_a_call_match_a_rewritten_schema() -> None:
    call_format = format_named("JSON in tags")
    vocab = vocabulary(call_format, has_tokens=True)
    request_tools = tool("f", {"type": "object", "dependentRequired": {"a": ["b"]}})
    grammar = call_grammar(call_format, request_tools, vocab.literal, several=False, opened=False)
    written = '<tool_call>{"name": "f", "arguments": {"a": 1, "b": 2}}</tool_call>'
    assert vocab.accepts(grammar, written)
    assert not vocab.accepts(grammar, written.replace(', "b": 2', ""))


def test_a_tool_that_pattern_or_python_cannot_name_is_refused() -> None:
    for title, name in (("Qwen3-Coder", "a b"), ("LFM2", "get-weather")):
        call_format = format_named(title)
        literal = vocabulary(call_format, has_tokens=True).literal
        with pytest.raises(NotForcible, match=name):
            call_grammar(call_format, tool(name, {}), literal, several=False, opened=False)


@FORMATS
@pytest.mark.parametrize("has_tokens", [False, True])
def test_markup_in_names_and_values_is_read_back_or_refused(call_format: CallFormat, has_tokens: bool) -> None:
    """A value of the request that the format cannot hold never leads to a call that is read as something else."""
    vocab = vocabulary(call_format, has_tokens=has_tokens)
    texts = (*(text for section in call_format.sections for text in section), *call_format.call_closings)
    closing = call_format.parameter_closing.replace("{key}", "a")
    for text in dict.fromkeys((*texts, closing, call_format.quote, "</tool_call>", 'a"b', "{", "\na")):
        written = {"a": {"const": text}} if text else {"a": {"type": "integer"}}
        for request_tools in (
            tool("f", {"type": "object", "properties": written, "required": ["a"]}),
            tool("f", {"type": "object", "properties": {"a": {"enum": [text, 1]}}, "required": ["a"]}),
            tool(f"f{text}", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}),
        ):
            try:
                grammar = call_grammar(call_format, request_tools, vocab.literal, several=False, opened=False)
            except NotForcible:
                continue
            function = request_tools[0]["function"]
            [(name, arguments)] = read_all(vocab.walk(grammar, random.Random(1)), call_format, request_tools)
            assert name == function["name"]
            jsonschema.validate(arguments, function["parameters"])


@pytest.mark.parametrize(
    ("title", "value"),
    [
        ("Qwen3-Coder", "a</parameter>"),
        ("Qwen3-Coder", "a\n"),
        ("Gemma 4", '<|"|>'),
        ("MiniMax M3", "]<]minimax[>["),
    ],
)
@pytest.mark.parametrize("schema", [{"const": "{}"}, {"type": "string", "enum": ["x", "{}"]}, {"enum": [1, "{}"]}])
def test_a_value_that_a_format_cannot_hold_is_refused_by_name(title: str, value: str, schema: dict[str, Any]) -> None:
    given = json.loads(json.dumps(schema).replace('"{}"', json.dumps(value)))
    literal = vocabulary(format_named(title), has_tokens=True).literal
    with pytest.raises(NotForcible) as refused:
        call_grammar(format_named(title), tool("f", {"properties": {"a": given}}), literal, several=False, opened=False)
    assert repr(value) in str(refused.value)


@pytest.mark.parametrize("text", ["a < b </b>", "</parameter", "", "two\nlines\n", "<parameter=x>", "日本"])
def test_text_between_tags_may_hold_angle_brackets(text: str) -> None:
    vocab = vocabulary(QWEN, has_tokens=True)
    request_tools = tool("f", {"properties": {"a": {"type": "string"}}, "required": ["a"]})
    written = f"<tool_call><function=f><parameter=a>\n{text}\n</parameter></function></tool_call>"
    assert vocab.accepts(call_grammar(QWEN, request_tools, vocab.literal, several=False, opened=False), written)
    assert read_all(written, QWEN, request_tools) == [("f", {"a": text})]


def test_a_tool_without_a_schema_has_no_arguments_and_an_open_schema_any() -> None:
    call_format = format_named("JSON in tags")
    vocab = vocabulary(call_format, has_tokens=True)
    written = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
    open_tools = tool("f", {"type": "object"})
    closed_tools = [{"type": "function", "function": {"name": "f"}}]
    assert vocab.accepts(call_grammar(call_format, open_tools, vocab.literal, several=False, opened=False), written)
    closed = call_grammar(call_format, closed_tools, vocab.literal, several=False, opened=False)
    assert not vocab.accepts(closed, written)
    assert vocab.accepts(closed, written.replace('"a": 1', ""))


def test_mistral_without_the_token_of_arguments_writes_a_list_of_objects() -> None:
    call_format = format_named("Mistral")
    vocab = ByteVocabulary(["[TOOL_CALLS]"])
    grammar = call_grammar(call_format, tools(nested=False), vocab.literal, several=False, opened=False)
    assert vocab.accepts(grammar, '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Paris", "days": 2}}]')


HARMONY_TOKENS = ("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|call|>", "<|end|>")
HARMONY_CALL = '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>'


@pytest.mark.parametrize(
    "text",
    [
        HARMONY_CALL,
        f"<|start|>assistant{HARMONY_CALL}",
        ' to=functions.weather<|channel|>commentary <|constrain|>json<|message|>{"city": "Paris"}<|call|>',
    ],
)
def test_a_call_in_the_harmony_format_has_a_header_with_the_recipient(text: str) -> None:
    vocab = ByteVocabulary(HARMONY_TOKENS)
    grammar = message_call_grammar(HARMONY, tools(nested=True), vocab.literal, several=False, opened=False)
    assert vocab.accepts(grammar, text)
    assert not vocab.accepts(grammar, text.replace("weather", "other"))
    assert not vocab.accepts(grammar, text.replace("city", "town"))


def test_an_opened_harmony_call_begins_with_the_name_and_several_follow() -> None:
    vocab = ByteVocabulary(HARMONY_TOKENS)
    grammar = message_call_grammar(HARMONY, tools(nested=True), vocab.literal, several=True, opened=True)
    rest = HARMONY_CALL.partition("functions.")[2]
    assert vocab.accepts(grammar, rest)
    assert vocab.accepts(grammar, f"{rest}<|start|>assistant{HARMONY_CALL}")


def test_functionary_names_the_tool_on_the_first_line_of_a_message() -> None:
    vocab = ByteVocabulary([])
    grammar = message_call_grammar(FUNCTIONARY, tools(nested=True), vocab.literal, several=True, opened=False)
    assert vocab.accepts(grammar, 'weather\n{"city": "Paris"}>>>now\n{}')
    assert vocab.accepts(grammar, '>>>weather\n{"city": "Paris"}')


def test_messages_that_hold_calls_in_their_text_are_refused() -> None:
    with pytest.raises(NotForcible):
        message_call_grammar(MUSE, tools(nested=True), ByteVocabulary([]).literal, several=False, opened=False)
