from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pico_jupyter.engine.formats.call_formats import CALL_FORMATS, JSON_IN_TAGS
from pico_jupyter.engine.formats.output_format import OutputFormat, detect_output_format
from pico_jupyter.engine.text.delta_buffer import OutputDelta
from pico_jupyter.engine.text.output_parser import OutputParser
from pico_jupyter.types import ReasoningDelta, TextDelta, TokenLogprob, ToolCallDelta, ToolCallPart

THINK = OutputFormat("<think>", "</think>", (JSON_IN_TAGS,))
PLAIN = OutputFormat()
HARMONY = detect_output_format("<|channel|>", ())
OPEN_CALLS = OutputFormat(calls=tuple(call for call in CALL_FORMATS if call.title == "Mistral"))
TOOLS = '[{"type":"function","function":{"name":"add"}}]'
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


class ChunkVocabulary:
    """A tokenizer whose tokens are arbitrary byte strings. Each gets an id when a test first uses it."""

    def __init__(
        self, output_format: OutputFormat = PLAIN, *, specials: Sequence[str] = (), strips_leading_space: bool = False
    ) -> None:
        self.output_format = output_format
        self.strips_leading_space = strips_leading_space
        self._tokens: list[bytes] = [special.encode() for special in specials]
        self.special_token_ids = frozenset(range(len(specials)))

    def token(self, chunk: bytes) -> int:
        if chunk not in self._tokens:
            self._tokens.append(chunk)
        return self._tokens.index(chunk)

    def token_bytes(self, token_id: int) -> bytes:
        return self._tokens[token_id]


@dataclass
class Answer:
    reasoning: str = ""
    text: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    stopped: bool = False


def parser_for(vocabulary: ChunkVocabulary, **options: Any) -> OutputParser:
    counter = itertools.count()
    return OutputParser(vocabulary, new_call_id=lambda: f"call_{next(counter)}", **options)


def fold(deltas: Sequence[OutputDelta]) -> Answer:
    answer = Answer()
    for delta in deltas:
        match delta:
            case TextDelta(text):
                answer.text += text
            case ReasoningDelta(text):
                answer.reasoning += text
            case ToolCallDelta(call):
                answer.calls.append((call.name, call.arguments))
            case ToolCallPart(arguments, _, call_id, name):
                if call_id:
                    answer.calls.append((name, ""))
                answer.calls[-1] = (answer.calls[-1][0], answer.calls[-1][1] + arguments)
    return answer


def run(chunks: Sequence[bytes], output_format: OutputFormat = PLAIN, **options: Any) -> Answer:
    """Parse an answer. Checks after each token that the deltas so far are a prefix of the whole answer."""
    vocabulary = ChunkVocabulary(output_format, strips_leading_space=options.pop("strips_leading_space", False))
    parser = parser_for(vocabulary, **options)
    deltas: list[OutputDelta] = []
    seen: list[Answer] = []
    for chunk in chunks:
        deltas += parser.push(vocabulary.token(chunk))
        seen.append(fold(deltas))
    deltas += parser.flush()
    whole = fold(deltas)
    whole.stopped = parser.stopped
    for early in seen:
        assert whole.text.startswith(early.text)
        assert whole.reasoning.startswith(early.reasoning)
    return whole


def splits(text: str) -> Iterator[list[bytes]]:
    """The text as one chunk, as single bytes, as single characters, and split in two at each byte."""
    data = text.encode()
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    yield [char.encode() for char in text]
    for cut in range(1, len(data)):
        yield [data[:cut], data[cut:]]


ROWS = {
    "plain text": (PLAIN, {}, "Hello, world", Answer(text="Hello, world")),
    "nothing": (THINK, {}, "", Answer()),
    "emoji, CJK and combining marks": (PLAIN, {}, "a😀é東京👩‍👩‍👧e\u0301", Answer(text="a😀é東京👩‍👩‍👧e\u0301")),
    "outer whitespace of a plain answer is kept": (THINK, {}, " \n hi \n ", Answer(text=" \n hi \n ")),
    "only whitespace": (THINK, {}, " \n ", Answer(text=" \n ")),
    "reasoning, then content": (THINK, {}, "<think>a b</think>c", Answer("a b", "c")),
    "blank lines around the tags are removed": (
        THINK, {}, "\n<think>\n a\n\nb \n</think>\n\n c \n", Answer("a\n\nb", " c \n"),
    ),
    "an empty block": (THINK, {}, "<think>\n\n</think>\n\nhi", Answer("", "hi")),
    "a block that the prompt opens": (
        THINK, {"reasoning_started": True}, "\nso\n</think>\n\n4", Answer("so", "4"),
    ),
    "the model repeats the opening tag of the prompt": (
        THINK, {"reasoning_started": True}, "<think>\nso</think>4", Answer("so", "4"),
    ),
    "a closing tag of a block that the prompt already closed": (THINK, {}, "</think>\n\n4", Answer("", "4")),
    "reasoning that never ends": (THINK, {}, "<think>so it go", Answer("so it go")),
    "reasoning that ends inside its closing tag": (THINK, {}, "<think>so </thi", Answer("so </thi")),
    "reasoning that is only whitespace": (THINK, {"reasoning_started": True}, " \n ", Answer()),
    "an answer that ends inside the opening tag": (THINK, {}, " <thi", Answer(text=" <thi")),
    "almost an opening tag": (THINK, {}, "<thin>k", Answer(text="<thin>k")),
    "almost a closing tag": (THINK, {}, "<think>a < b </ c </think></think >d", Answer("a < b </ c", "</think >d")),
    "a tag inside the answer is text": (THINK, {}, "Use <think>x</think>.", Answer(text="Use <think>x</think>.")),
    "a second block directly after the first": (THINK, {}, "<think>a</think>\n<think>b</think>c", Answer("a\nb", "c")),
    "an opening tag inside reasoning is text": (THINK, {}, "<think>a<think>b</think>c", Answer("a<think>b", "c")),
    "tags are text for a model without them": (PLAIN, {}, "<think>a</think>b", Answer(text="<think>a</think>b")),
    "a stop string": (PLAIN, {"stop": ("END",)}, "go onENDno", Answer(text="go on", stopped=True)),
    "a stop string at the very end": (PLAIN, {"stop": ("END",)}, "go onEND", Answer(text="go on", stopped=True)),
    "a stop string at the start": (PLAIN, {"stop": ("END",)}, "ENDless", Answer(stopped=True)),
    "almost a stop string": (PLAIN, {"stop": ("END",)}, "EN EEND!", Answer(text="EN E", stopped=True)),
    "an unfinished stop string": (PLAIN, {"stop": ("END",)}, "the EN", Answer(text="the EN")),
    "a stop string that overlaps itself": (PLAIN, {"stop": ("aab",)}, "caaab", Answer(text="ca", stopped=True)),
    "the stop string that ends first": (
        PLAIN, {"stop": ("abcd", "bc")}, "xabcd", Answer(text="xa", stopped=True),
    ),
    "two stop strings that end together": (PLAIN, {"stop": ("bc", "abc")}, "xabc", Answer(text="x", stopped=True)),
    "an empty stop string": (PLAIN, {"stop": ("",)}, "hello", Answer(text="hello")),
    "a stop string of wide characters": (PLAIN, {"stop": ("京都",)}, "東京京都", Answer(text="東京", stopped=True)),
    "a stop string of spaces": (PLAIN, {"stop": ("\n\n",)}, "a\nb\n\nc", Answer(text="a\nb", stopped=True)),
    "a stop string does not end reasoning": (
        THINK, {"stop": ("\n\n",)}, "<think>a\n\nb</think>\n\nc\n\nd", Answer("a\n\nb", "c", stopped=True),
    ),
    "a stop string like the opening tag": (THINK, {"stop": ("<th",)}, "a<th", Answer(text="a", stopped=True)),
    "whitespace, then a stop string": (THINK, {"stop": ("\n",)}, "\nhi", Answer(stopped=True)),
    "a tool call": (THINK, {"tools": TOOLS}, CALL, Answer(calls=[("add", '{"a": 1}')])),
    "reasoning, text and two tool calls": (
        THINK, {"tools": TOOLS}, f"<think>\nx\n</think>\n\nLet me see.\n{CALL}\n{CALL}\n",
        Answer("x", "Let me see.", [("add", '{"a": 1}')] * 2),
    ),
    "text after a tool call": (THINK, {"tools": TOOLS}, f"{CALL}\nso", Answer(text="so", calls=[("add", '{"a": 1}')])),
    "a tool call without its closing tag": (
        THINK, {"tools": TOOLS}, CALL.removesuffix("</tool_call>"), Answer(calls=[("add", '{"a": 1}')]),
    ),
    "a tool call that cannot be parsed": (
        THINK, {"tools": TOOLS}, "so <tool_call>nope</tool_call> on", Answer(text="so <tool_call>nope</tool_call> on"),
    ),
    "a tool call that ends too early": (THINK, {"tools": TOOLS}, "so <tool_call>{", Answer(text="so <tool_call>{")),
    "a tool call without tools in the request is text": (THINK, {}, CALL, Answer(text=CALL)),
    "a stop string inside a tool call": (
        THINK, {"tools": TOOLS, "stop": ("add",)}, f"{CALL}add", Answer(calls=[("add", '{"a": 1}')], stopped=True),
    ),
    "whitespace before a stop string is kept": (
        THINK, {"tools": TOOLS, "stop": ("END",)}, "hi \nEND", Answer(text="hi \n", stopped=True),
    ),
    "almost a tool call": (THINK, {"tools": TOOLS}, "x <tool_cal ", Answer(text="x <tool_cal ")),
    "a call that extends to the end": (
        OPEN_CALLS, {"tools": TOOLS}, 'ok [TOOL_CALLS]{"name": "add", "arguments": {}}',
        Answer(text="ok", calls=[("add", "{}")]),
    ),
    "channels": (
        HARMONY, {}, "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>4",
        Answer("hm", "4"),
    ),
    "a leading space that the tokenizer adds": (PLAIN, {"strips_leading_space": True}, "  hi", Answer(text=" hi")),
    "a leading space of a continued text": (
        PLAIN, {"strips_leading_space": True, "continuation": True}, " hi", Answer(text=" hi"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_an_answer_does_not_depend_on_where_its_text_is_split(row: str) -> None:
    output_format, options, text, expected = ROWS[row]
    for chunks in splits(text):
        assert run(chunks, output_format, **options) == expected, chunks


@settings(deadline=None)
@given(row=st.sampled_from(sorted(ROWS)), data=st.data())
def test_an_answer_does_not_depend_on_the_number_of_its_tokens(row: str, data: st.DataObject) -> None:
    output_format, options, text, expected = ROWS[row]
    assert run(data.draw(chunks_of(text.encode())), output_format, **options) == expected


@st.composite
def chunks_of(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=len(data))))
    return [data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)]) if a < b]


@settings(deadline=None)
@given(data=st.data(), body=st.binary(max_size=40))
def test_invalid_bytes_become_the_same_replacement_characters_in_any_split(data: st.DataObject, body: bytes) -> None:
    assert run(data.draw(chunks_of(body))).text == body.decode("utf-8", "replace")


@pytest.mark.parametrize(("text", "found"), [("a END b", "END"), ("a\nb", "\n"), ("a b", "")])
def test_the_stop_string_that_ended_the_answer_is_reported(text: str, found: str) -> None:
    vocabulary = ChunkVocabulary(PLAIN)
    parser = parser_for(vocabulary, stop=["END", "\n"])
    for character in text:
        parser.push(vocabulary.token(character.encode()))
    parser.flush()
    assert parser.stop_string == found


def stopped_text(text: str, stops: Sequence[str]) -> str:
    """The text before the first stop string, found by reading character by character."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if stop and text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))]
    return text


@settings(deadline=None)
@given(data=st.data(), text=st.text("ab\n", max_size=30), stop=st.lists(st.text("ab\n", max_size=4), max_size=4))
def test_stop_strings_match_as_if_read_character_by_character(data: st.DataObject, text: str, stop: list[str]) -> None:
    expected = stopped_text(text, stop)
    answer = run(data.draw(chunks_of(text.encode())), stop=tuple(stop))
    assert answer.text == expected
    assert answer.stopped == (expected != text or any(s and s in text for s in stop))


@settings(deadline=None)
@given(
    data=st.data(),
    pieces=st.lists(st.sampled_from(["<think>", "</think>", "<", "</", "a", " ", "\n", CALL, "<tool_call>"])),
)
def test_a_mixture_of_tags_does_not_depend_on_where_it_is_split(data: st.DataObject, pieces: list[str]) -> None:
    text = "".join(pieces)
    options = {"tools": data.draw(st.sampled_from([TOOLS, "[]"])), "stop": ("<a", "\n\n")}
    assert run(data.draw(chunks_of(text.encode())), THINK, **options) == run([text.encode()], THINK, **options)


def test_plain_text_is_returned_with_its_own_token() -> None:
    vocabulary = ChunkVocabulary(THINK)
    parser = parser_for(vocabulary, stop=("END",), tools=TOOLS)
    words = ["Hello", ",", " world", "!"]
    assert [fold(parser.push(vocabulary.token(word.encode()))).text for word in words] == words


def test_only_text_that_may_become_a_stop_string_is_held_back() -> None:
    vocabulary = ChunkVocabulary()
    parser = parser_for(vocabulary, stop=("END",))
    assert fold(parser.push(vocabulary.token(b"the E"))).text == "the "
    assert fold(parser.push(vocabulary.token(b"N"))).text == ""
    assert fold(parser.push(vocabulary.token(b"E"))).text == "EN"


def test_a_character_is_returned_with_its_last_byte() -> None:
    vocabulary = ChunkVocabulary()
    parser = parser_for(vocabulary)
    texts = [fold(parser.push(vocabulary.token(bytes([byte])))).text for byte in "😀".encode()]
    assert texts == ["", "", "", "😀"]


def test_an_incomplete_character_becomes_a_replacement_character() -> None:
    vocabulary = ChunkVocabulary()
    parser = parser_for(vocabulary)
    assert parser.push(vocabulary.token("😀".encode()[:3])) == []
    assert parser.flush() == [TextDelta("\ufffd")]


def test_special_tokens_are_not_part_of_the_answer() -> None:
    vocabulary = ChunkVocabulary(THINK, specials=["<|im_end|>", "<s>"])
    parser = parser_for(vocabulary)
    deltas = [d for t in (b"a", b"<s>", b"b", b"<|im_end|>") for d in parser.push(vocabulary.token(t))]
    assert fold([*deltas, *parser.flush()]).text == "ab"


def test_a_special_token_inside_a_character_does_not_break_it() -> None:
    vocabulary = ChunkVocabulary(specials=["<s>"])
    parser = parser_for(vocabulary)
    first, second = "é".encode()[:1], "é".encode()[1:]
    deltas = [d for t in (first, b"<s>", second) for d in parser.push(vocabulary.token(t))]
    assert fold(deltas).text == "é"


def test_tags_may_be_special_tokens() -> None:
    vocabulary = ChunkVocabulary(HARMONY, specials=["<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|return|>"])
    parser = parser_for(vocabulary)
    answer = [
        "<|channel|>",
        "analysis",
        "<|message|>",
        "hm",
        "<|end|>",
        "<|start|>",
        "assistant",
        "<|channel|>",
        "final",
    ]
    deltas = [d for t in [*answer, "<|message|>", "4", "<|return|>"] for d in parser.push(vocabulary.token(t.encode()))]
    assert fold([*deltas, *parser.flush()]) == Answer("hm", "4")


def test_a_special_token_that_does_not_complete_a_tag_is_removed() -> None:
    vocabulary = ChunkVocabulary(OutputFormat("<|channel>thought", "<channel|>"), specials=["<|channel>", "<channel|>"])
    parser = parser_for(vocabulary)
    deltas = [d for t in (b"<|channel>", b"other", b" x") for d in parser.push(vocabulary.token(t))]
    assert fold([*deltas, *parser.flush()]).text == "other x"


def test_each_tool_call_gets_a_new_id() -> None:
    vocabulary = ChunkVocabulary(THINK)
    parser = parser_for(vocabulary, tools=TOOLS, index=2)
    deltas = parser.push(vocabulary.token((CALL + CALL).encode()))
    assert [(d.call.id, d.index) for d in deltas if isinstance(d, ToolCallDelta)] == [("call_0", 2), ("call_1", 2)]
    assert parser.has_tool_calls


def test_text_that_cannot_be_parsed_is_not_a_tool_call() -> None:
    vocabulary = ChunkVocabulary(THINK)
    parser = parser_for(vocabulary, tools=TOOLS)
    parser.push(vocabulary.token(b"<tool_call>x</tool_call>"))
    assert not parser.has_tool_calls


def test_nothing_is_returned_after_a_stop_string() -> None:
    vocabulary = ChunkVocabulary()
    parser = parser_for(vocabulary, stop=("END",))
    parser.push(vocabulary.token(b"END"))
    assert parser.stopped
    assert parser.push(vocabulary.token(b"more")) == []
    assert parser.flush() == []


@pytest.mark.parametrize(
    ("tokens", "count"),
    [
        (["<think>", "\n", "a", "</think>", "b"], 4),
        (["<th", "ink>", "a", "</", "think>", "b"], 5),
        (["\n", "<think>", "a"], 3),
        (["<think>a</think>b", "c"], 1),
        (["<th", "e end"], 0),
        (["a", "b"], 0),
        (["<think>", "a", "</think>", "\n\n", "b"], 3),
        (["<think>", "</think>", "\n", "<think>", "</think>"], 5),
    ],
)
def test_reasoning_tokens_include_the_tokens_of_the_tags(tokens: list[str], count: int) -> None:
    vocabulary = ChunkVocabulary(THINK)
    parser = parser_for(vocabulary)
    for token in tokens:
        parser.push(vocabulary.token(token.encode()))
    parser.flush()
    assert parser.reasoning_tokens == count


def test_reasoning_tokens_count_from_the_first_token_when_the_prompt_opens_the_block() -> None:
    vocabulary = ChunkVocabulary(THINK)
    parser = parser_for(vocabulary, reasoning_started=True)
    for token in (b"\n", b"a", b"</think>", b"b"):
        parser.push(vocabulary.token(token))
    assert parser.reasoning_tokens == 3


def logprob(data: bytes) -> TokenLogprob:
    return TokenLogprob(data.decode("utf-8", "replace"), -0.5, data)


@settings(deadline=None)
@given(row=st.sampled_from(sorted(ROWS)), data=st.data())
def test_every_logprob_is_returned_once_and_in_order(row: str, data: st.DataObject) -> None:
    output_format, options, text, _ = ROWS[row]
    options = {name: value for name, value in options.items() if name != "strips_leading_space"}
    vocabulary = ChunkVocabulary(output_format)
    parser = parser_for(vocabulary, **options)
    pushed: list[TokenLogprob] = []
    deltas: list[OutputDelta] = []
    for chunk in data.draw(chunks_of(text.encode())):
        if not parser.stopped:
            pushed.append(logprob(chunk))
            deltas += parser.push(vocabulary.token(chunk), pushed[-1])
    deltas += parser.flush()
    left = [one for delta in deltas if not isinstance(delta, ToolCallDelta) for one in delta.logprobs]
    assert left == pushed


def test_the_logprob_of_a_token_without_text_is_returned_with_the_next_text() -> None:
    vocabulary = ChunkVocabulary(THINK)
    parser = parser_for(vocabulary)
    assert parser.push(vocabulary.token(b"<think>"), logprob(b"<think>")) == []
    assert parser.push(vocabulary.token(b"a"), logprob(b"a")) == [
        ReasoningDelta("a", logprobs=(logprob(b"<think>"), logprob(b"a")))
    ]


def test_the_last_logprobs_are_returned_with_an_empty_text() -> None:
    vocabulary = ChunkVocabulary(THINK)
    parser = parser_for(vocabulary, stop=("END",), index=1)
    parser.push(vocabulary.token(b"END"), logprob(b"END"))
    assert parser.flush() == [TextDelta("", 1, (logprob(b"END"),))]
    assert parser.flush() == []


def test_consecutive_texts_of_one_kind_become_one_delta() -> None:
    vocabulary = ChunkVocabulary(THINK)
    parser = parser_for(vocabulary)
    deltas = parser.push(vocabulary.token(b"<think>a</think><think>b</think>c"))
    assert deltas == [ReasoningDelta("a\nb"), TextDelta("c")]


def test_the_repr_shows_the_phase_and_the_held_text() -> None:
    vocabulary = ChunkVocabulary(THINK)
    parser = parser_for(vocabulary)
    parser.push(vocabulary.token(b"<think>a</th"))
    assert repr(parser) == "<OutputParser 0 [reasoning | 4 held]>"


def test_the_time_for_a_token_does_not_grow_with_the_answer() -> None:
    # Ten times our own limit. A parser that reads the whole answer again for each token is far slower.
    vocabulary = ChunkVocabulary(THINK)
    parser = parser_for(vocabulary, stop=("\n\nUser:", "###"), tools=TOOLS)
    token = vocabulary.token(b" word")
    started = time.thread_time()
    for _ in range(20_000):
        parser.push(token)
    assert (time.thread_time() - started) / 20_000 < 200e-6


@pytest.mark.parametrize(
    ("chunks", "content"),
    [
        (["<think>", "hm", "</think>", "4", "7"], ["4", "7"]),
        (["<think>", "hm", "</think>", "\n", "\n", "4", "7"], ["4", "7"]),
        (["<th", "ink>", "hm", "</th", "ink>", "4"], ["4"]),
        (["\n", "<think>", "</think>", "4"], ["4"]),
        (["<think>", "hm", "</think>", "<", "b>"], ["<", "b>"]),
        (["<think>", "hm", "</think>", "\n"], []),
        (["<think>", "hm"], []),
        ([" ", "4"], [" ", "4"]),
        (["hm</think>4"], ["hm</think>4"]),
    ],
)
def test_the_logprobs_of_text_are_those_of_the_answers_tokens(chunks: list[str], content: list[str]) -> None:
    vocabulary = ChunkVocabulary(THINK)
    parser = parser_for(vocabulary)
    pushed = [(vocabulary.token(chunk.encode()), logprob(chunk.encode())) for chunk in chunks]
    deltas = [delta for token, one in pushed for delta in parser.push(token, one)] + parser.flush()
    tokens = [one.token for delta in deltas if isinstance(delta, TextDelta) for one in delta.logprobs]
    assert tokens == content


def test_the_logprobs_of_message_headers_belong_to_the_reasoning() -> None:
    vocabulary = ChunkVocabulary(HARMONY)
    parser = parser_for(vocabulary)
    chunks = ["<|channel|>", "analysis", "<|message|>", "hm", "<|end|>"]
    chunks += ["<|start|>", "assistant", "<|channel|>", "final", "<|message|>", "4", "7"]
    pushed = [(vocabulary.token(chunk.encode()), logprob(chunk.encode())) for chunk in chunks]
    deltas = [delta for token, one in pushed for delta in parser.push(token, one)] + parser.flush()
    assert [one.token for delta in deltas if isinstance(delta, TextDelta) for one in delta.logprobs] == ["4", "7"]
