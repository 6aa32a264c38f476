"""Every model family: its answers, and the reasoning, the content and the calls that they contain.

Each file in `families/` describes a family: the texts by which its template is recognized, its added tokens, and a
table of answers.
"""

from __future__ import annotations

import json
import runpy
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import regex
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pico_jupyter.engine.formats.call_formats import CALL_FORMATS, CallFormat
from pico_jupyter.engine.formats.output_format import REASONING_FORMATS, OutputFormat, detect_output_format
from pico_jupyter.engine.text.output_parser import OutputParser
from pico_jupyter.types import ReasoningDelta, TextDelta, ToolCallDelta
from tests.property_examples import examples

PROPERTIES: dict[str, dict[str, Any]] = {
    "weather": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "metric": {"type": "boolean"},
        "factor": {"type": "number"},
    },
    "search": {
        "query": {"type": "string"},
        "filter": {"type": "object"},
        "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "write": {"text": {"type": "string"}, "path": {"type": "string"}},
    "now": {},
}
TOOLS = json.dumps(
    [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
        for name, properties in PROPERTIES.items()
    ]
)


@dataclass(frozen=True)
class Family:
    """The output format of a family, and its added tokens."""

    name: str
    output_format: OutputFormat
    tokens: tuple[str, ...]
    special: tuple[str, ...]


@dataclass
class FamilyAnswer:
    reasoning: str = ""
    content: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class FamilyCase:
    """An answer of a family. With `started`, the prompt ends inside reasoning."""

    family: Family
    text: str
    started: bool
    expected: FamilyAnswer


class FamilyVocabulary:
    """A tokenizer with a token for each byte string that a test uses, and the family's added tokens."""

    strips_leading_space = False

    def __init__(self, family: Family, *, has_special_tokens: bool) -> None:
        self.output_format = family.output_format
        special = sorted(family.special, key=len, reverse=True) if has_special_tokens else []
        self.special_token_ids = frozenset(range(len(special)))
        self._pattern = regex.compile("|".join(map(regex.escape, special)) or "(?!)")
        self._tokens = [text.encode() for text in special]
        self._ids = {token: token_id for token_id, token in enumerate(self._tokens)}

    def token_bytes(self, token_id: int) -> bytes:
        return self._tokens[token_id]

    def encode(self, text: str, length: int) -> list[int]:
        """Special tokens, and tokens of `length` bytes between them."""
        ids: list[int] = []
        at = 0
        for match in self._pattern.finditer(text):
            ids += self._pieces(text[at : match.start()].encode(), length)
            ids.append(self._ids[match[0].encode()])
            at = match.end()
        return ids + self._pieces(text[at:].encode(), length)

    def _pieces(self, data: bytes, length: int) -> list[int]:
        return [self.token(data[at : at + length]) for at in range(0, len(data), length)]

    def token(self, data: bytes) -> int:
        if data not in self._ids:
            self._ids[data] = len(self._tokens)
            self._tokens.append(data)
        return self._ids[data]


def read_family(path: Path) -> dict[str, FamilyCase]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    tokens, special = tuple(content.get("tokens", ())), tuple(content.get("special", ()))
    output_format = detect_output_format(content["template"], {*tokens, *special})
    family = Family(path.stem, output_format, tokens, special)
    return {row["name"]: _case(family, row) for row in content["cases"]}


def _case(family: Family, row: dict[str, Any]) -> FamilyCase:
    calls = [call for item in row.get("calls", ()) for call in item.items()]
    expected = FamilyAnswer(row.get("reasoning", ""), row.get("content", ""), calls)
    return FamilyCase(family, row["text"], row.get("started", False), expected)


def parse(
    vocabulary: FamilyVocabulary,
    ids: Iterable[int],
    *,
    started: bool = False,
    tools: str = TOOLS,
    continuation: bool = False,
) -> FamilyAnswer:
    parser = OutputParser(
        vocabulary, reasoning_started=started, tools=tools, new_call_id=lambda: "call", continuation=continuation
    )
    deltas = [delta for token_id in ids for delta in parser.push(token_id)] + parser.flush()
    answer = FamilyAnswer()
    for delta in deltas:
        match delta:
            case TextDelta(text):
                answer.content += text
            case ReasoningDelta(text):
                answer.reasoning += text
            case ToolCallDelta(call):
                answer.calls.append((call.name, read_arguments(call.arguments)))
    return answer


def read_arguments(arguments: str) -> Any:
    """The value of the arguments, or their text if they are not JSON."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def parse_case(case: FamilyCase, *, has_special_tokens: bool, length: int) -> FamilyAnswer:
    vocabulary = FamilyVocabulary(case.family, has_special_tokens=has_special_tokens)
    return parse(vocabulary, vocabulary.encode(case.text, length), started=case.started)


def tags_of(output_format: OutputFormat) -> set[str]:
    """The texts of a format that are markup."""
    calls, messages = output_format.calls, output_format.messages
    tags = {*output_format.tags, *(text for call in calls for text in (*call.needles, *call.call_closings))}
    tags |= {text for call in calls for text in (call.parameter.partition("{")[0], call.parameter_closing)}
    return (tags | {*messages.starts, *messages.ends, messages.header_end} if messages else tags) - {""}


def without(text: str, special: Sequence[str]) -> str:
    for token in special:
        text = text.replace(token, "")
    return text


FILES = sorted((Path(__file__).parent / "families").glob("*.yaml"))
FAMILIES = {path.stem: read_family(path) for path in FILES}
CASES = {f"{family}: {name}": case for family, cases in FAMILIES.items() for name, case in cases.items()}
WHOLE = 10**6


@pytest.mark.parametrize("length", [1, WHOLE])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_is_split_into_reasoning_content_and_calls(family: str, length: int) -> None:
    for name, case in FAMILIES[family].items():
        assert parse_case(case, has_special_tokens=False, length=length) == case.expected, name


@pytest.mark.parametrize("length", [1, WHOLE])
@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_give_the_same_answer_as_text(family: str, length: int) -> None:
    for name, case in FAMILIES[family].items():
        special, expected = case.family.special, case.expected
        visible = FamilyAnswer(without(expected.reasoning, special), without(expected.content, special), expected.calls)
        assert parse_case(case, has_special_tokens=True, length=length) == visible, name


@given(name=st.sampled_from(list(CASES)), data=st.data())
@settings(max_examples=examples(300), deadline=None)
def test_a_family_answer_does_not_depend_on_where_it_is_split(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    text = case.text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    vocabulary = FamilyVocabulary(case.family, has_special_tokens=False)
    ids = [vocabulary.token(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) if a < b]
    assert parse(vocabulary, ids, started=case.started) == case.expected


@given(name=st.sampled_from(list(CASES)), data=st.data())
@settings(max_examples=examples(300), deadline=None)
def test_a_damaged_answer_does_not_depend_on_where_it_is_split(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    text = case.text
    pieces = sorted({*tags_of(case.family.output_format), *"{}[]()\"'\\,: \n", text})
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 12)))
        text = text[:start] + data.draw(st.sampled_from(["", *pieces])) + text[end:]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    vocabulary = FamilyVocabulary(case.family, has_special_tokens=False)
    parts = [text[a:b].encode() for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) if a < b]
    whole = parse(vocabulary, vocabulary.encode(text, WHOLE), started=case.started)
    assert parse(vocabulary, [vocabulary.token(part) for part in parts], started=case.started) == whole
    assert parse(vocabulary, vocabulary.encode(text, 1), started=case.started) == whole


@pytest.mark.parametrize("count", range(62, 66))
@pytest.mark.parametrize("start", ["", "{", "```json", "<think>", "<think>{"])
def test_the_limit_of_rejected_calls_does_not_depend_on_where_the_answer_is_split(start: str, count: int) -> None:
    case = FAMILIES["hermes"]["a call"]
    vocabulary = FamilyVocabulary(case.family, has_special_tokens=False)
    text = f"{start}{'<tool_call>x' * count}{case.text}"
    whole = parse(vocabulary, vocabulary.encode(text, WHOLE))
    assert whole.calls == (case.expected.calls if count < 64 else [])
    assert parse(vocabulary, vocabulary.encode(text, 1)) == whole


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["a call", "two calls"])
def test_an_answer_that_is_cut_off_has_no_other_calls(family: str, name: str) -> None:
    case = FAMILIES[family][name]
    vocabulary = FamilyVocabulary(case.family, has_special_tokens=False)
    for end in range(1, len(case.text)):
        calls = parse(vocabulary, vocabulary.encode(case.text[:end], WHOLE), started=case.started).calls
        assert calls == case.expected.calls[: len(calls)], case.text[:end]


def test_each_call_format_has_cases() -> None:
    titles = {call.title for case in CASES.values() for call in case.family.output_format.calls}
    assert titles == {call.title for call in CALL_FORMATS}


def test_each_reasoning_format_has_cases() -> None:
    tags = {case.family.output_format.reasoning_close for case in CASES.values() if case.expected.reasoning}
    assert tags >= {reasoning.close for reasoning in REASONING_FORMATS}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_template_of_a_family_shows_its_format(path: Path) -> None:
    title = yaml.safe_load(path.read_text(encoding="utf-8"))["format"]
    output_format = next(iter(FAMILIES[path.stem].values())).family.output_format
    assert [call.title for call in output_format.calls][:1] == ([title] if title else [])


@pytest.mark.parametrize("call_format", CALL_FORMATS, ids=lambda call: call.title)
def test_the_example_in_the_documentation_is_a_call(call_format: CallFormat) -> None:
    examples = runpy.run_path(str(Path(__file__).parents[3] / "docs/_ext/call_examples.py"))
    family = Family("", OutputFormat(calls=(call_format,)), (), ())
    vocabulary = FamilyVocabulary(family, has_special_tokens=False)
    answer = parse(vocabulary, vocabulary.encode(examples["call_example"](call_format), WHOLE))
    assert answer == FamilyAnswer(calls=[(examples["NAME"], examples["ARGUMENTS"])])


@pytest.mark.parametrize("text", ['{"city": "Paris"}', "[1, 2]", "[link](http://x)", "-[x] done", "[f(x)]"])
@pytest.mark.parametrize("family", ["llama3", "llama3_python", "llama3_json", "llama4"])
def test_an_ordinary_answer_is_streamed_without_delay(family: str, text: str) -> None:
    vocabulary = FamilyVocabulary(FAMILIES[family]["a call"].family, has_special_tokens=False)
    parser = OutputParser(vocabulary, tools=TOOLS, new_call_id=lambda: "call")
    early = [delta for token_id in vocabulary.encode(text[:6], 1) for delta in parser.push(token_id)]
    assert "".join(delta.text for delta in early if isinstance(delta, TextDelta)) == text[:6]


@pytest.mark.parametrize(
    ("family", "start", "repeated"),
    [
        ("hermes", "", "<tool_call>{"),
        ("hermes", "", '<tool_call>{"'),
        ("hermes", "<think>", "<tool_call>{"),
        ("lfm2", "<|tool_call_start|>", "write(a=\n"),
        ("lfm2", "<|tool_call_start|>[", "{,"),
        ("llama3_json", "{", " " * 10),
    ],
)
def test_the_time_for_text_that_is_no_call_grows_with_the_text_only(family: str, start: str, repeated: str) -> None:
    # Ten times our own limit. A parser that reads the rest of the answer again for each opening is far slower.
    vocabulary = FamilyVocabulary(FAMILIES[family]["a call"].family, has_special_tokens=False)
    text = start + repeated * 6_000
    ids = vocabulary.encode(text, 12)
    started = time.thread_time()
    answer = parse(vocabulary, ids)
    assert (time.thread_time() - started) / len(ids) < 1e-3
    assert (answer.reasoning + answer.content).strip() == text.removeprefix("<think>").strip()


def test_the_time_for_calls_in_reasoning_grows_with_their_number_only() -> None:
    # A parser that reads all calls again for each one that does not count is far slower.
    vocabulary = FamilyVocabulary(FAMILIES["hermes"]["a call"].family, has_special_tokens=False)
    reasoning = "hm " + '<tool_call>{"name": "now"}</tool_call>' * 500
    ids = vocabulary.encode(f"<think>{reasoning}</think>No.", 12)
    started = time.thread_time()
    answer = parse(vocabulary, ids)
    assert (time.thread_time() - started) / len(ids) < 1e-3
    assert answer == FamilyAnswer(reasoning, "No.")


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": 5},
        {"anyOf": True},
        {"oneOf": ["string"]},
        {"anyOf": {"a": 1}},
        {"properties": 5},
        {"properties": ["item"]},
        {"type": 7},
        {"enum": 5},
        {"$ref": 5},
        5,
    ],
)
@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("family", ["qwen3_coder", "minimax_m3"])
def test_a_malformed_schema_allows_any_value(family: str, is_whole: bool, schema: Any) -> None:
    case = FAMILIES[family]["numbers and booleans"]
    parameters = schema if is_whole else {"properties": dict.fromkeys(PROPERTIES["weather"], schema)}
    tools = json.dumps([{"type": "function", "function": {"name": "weather", "parameters": parameters}}])
    vocabulary = FamilyVocabulary(case.family, has_special_tokens=False)
    assert parse(vocabulary, vocabulary.encode(case.text, WHOLE), tools=tools) == case.expected


def test_tags_inside_a_value_with_a_malformed_schema_are_read() -> None:
    case = FAMILIES["minimax_m3"]["nested arguments"]
    vocabulary = FamilyVocabulary(case.family, has_special_tokens=False)
    for schema in ({"properties": 5}, {"properties": ["tags"]}, {"anyOf": ["string", 5]}, {"oneOf": True}, [1]):
        parameters = {"properties": dict.fromkeys(PROPERTIES["search"], schema)}
        tools = json.dumps([{"type": "function", "function": {"name": "search", "parameters": parameters}}])
        [(name, arguments)] = parse(vocabulary, vocabulary.encode(case.text, WHOLE), tools=tools).calls
        assert (name, arguments.keys()) == ("search", {"query", "filter", "limit"})
