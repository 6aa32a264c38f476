import json
from collections.abc import AsyncGenerator

import pytest
from ollama import ChatResponse, GenerateResponse

from pico_jupyter.client import Choice, collect
from pico_jupyter.dialects import ollama_answer
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.ollama_answer import OllamaAnswerStream
from pico_jupyter.dialects.ollama_request import OllamaAnswerCall, OllamaLoadCall, OllamaPullCall
from pico_jupyter.errors import (
    ContextLengthExceeded,
    EngineFailed,
    Forbidden,
    InvalidRequest,
    MediaUnsupported,
    ModelNotFound,
    PicoError,
    QueueFull,
    ReasoningUnsupported,
    Unauthenticated,
)
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    Progress,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    TokenUsage,
    ToolCall,
    ToolCallDelta,
    ToolCallPart,
)
from tests.dialects.samples import (
    LOGPROB,
    NOW,
    TIMINGS,
    USAGE,
    Json,
    completion,
    finished,
    ndjson_objects,
    ollama_chat,
    ollama_generate,
    ollama_stream,
    written,
)

AT = '"model":"m","created_at":"2025-11-22T15:00:00.123456Z"'
METRICS = (
    '"total_duration":174560334,"load_duration":1013970,"prompt_eval_count":12,"prompt_eval_duration":13074791,'
    '"eval_count":2,"eval_duration":52479709'
)
CALL = ToolCall("call_ab12cd34", "get_weather", '{"city":"Tokyo"}')
INLINE = DialectSettings(reasoning_output="inline")


def validated(lines: bytes, call: OllamaAnswerCall) -> list[Json]:
    """The objects, which the SDK's own models accept, without keys that clients misread."""
    objects = ndjson_objects(lines)
    response = ChatResponse if call.endpoint == "chat" else GenerateResponse
    for entry in objects:
        response.model_validate(entry)
        assert {"model", "created_at", "done"} <= entry.keys()
        assert not {"error", "type"} & entry.keys()
        message = entry.get("message", entry)
        assert isinstance(message, dict)
        assert "content" in message or "response" in message
        assert message.get("tool_calls") != []
        assert not (message.get("thinking") and (message.get("content") or message.get("response")))
    return objects


def texts(objects: list[Json]) -> list[str]:
    return [entry["message"]["content"] for entry in objects]


def test_golden_bytes_of_a_chat_stream() -> None:
    call = ollama_chat()
    deltas = (Accepted("m", 12, False), TextDelta("Hel"), TextDelta("lo"), finished())
    lines = written(ollama_stream(call), *deltas)
    assert lines.decode() == (
        f'{{{AT},"message":{{"role":"assistant","content":"Hel"}},"done":false}}\n'
        f'{{{AT},"message":{{"role":"assistant","content":"lo"}},"done":false}}\n'
        f'{{{AT},"message":{{"role":"assistant","content":""}},"done":true,"done_reason":"stop",{METRICS}}}\n'
    )
    validated(lines, call)


def test_golden_bytes_of_a_generate_stream() -> None:
    call = ollama_generate()
    lines = written(ollama_stream(call), TextDelta("Hel"), finished("length", context=(1, 2)))
    assert lines.decode() == (
        f'{{{AT},"response":"Hel","done":false}}\n'
        f'{{{AT},"response":"","done":true,"done_reason":"length","context":[1,2],{METRICS}}}\n'
    )
    validated(lines, call)


def test_golden_bytes_of_whole_answers() -> None:
    answer = completion(Choice(text="Hello"), context=(1, 2))
    assert ollama_answer.answer(ollama_chat(), answer, NOW).decode() == (
        f'{{{AT},"message":{{"role":"assistant","content":"Hello"}},"done":true,"done_reason":"stop",{METRICS}}}\n'
    )
    assert ollama_answer.answer(ollama_generate(), answer, NOW).decode() == (
        f'{{{AT},"response":"Hello","done":true,"done_reason":"stop","context":[1,2],{METRICS}}}\n'
    )


def test_each_line_has_its_own_time() -> None:
    times = iter([0.0, 1.5, 2.0])
    stream = OllamaAnswerStream(ollama_chat(), lambda: next(times))
    lines = ndjson_objects(written(stream, TextDelta("a"), TextDelta("b"), finished()))
    assert [line["created_at"] for line in lines] == [
        "1970-01-01T00:00:00.000000Z",
        "1970-01-01T00:00:01.500000Z",
        "1970-01-01T00:00:02.000000Z",
    ]


def test_empty_deltas_write_nothing() -> None:
    stream = ollama_stream(ollama_chat())
    for delta in (Accepted("m", 1, True), Progress("load", 1, 2), TextDelta(""), ReasoningDelta("")):
        assert stream.encode(delta) == b""


def test_thinking_streams_apart_with_empty_content() -> None:
    call = ollama_chat()
    objects = validated(written(ollama_stream(call), ReasoningDelta("hm"), TextDelta("47"), finished()), call)
    assert [entry["message"] for entry in objects] == [
        {"role": "assistant", "content": "", "thinking": "hm"},
        {"role": "assistant", "content": "47"},
        {"role": "assistant", "content": ""},
    ]


def test_thinking_of_generate_is_next_to_response() -> None:
    call = ollama_generate()
    objects = validated(written(ollama_stream(call), ReasoningDelta("hm"), TextDelta("47"), finished()), call)
    assert (objects[0]["response"], objects[0]["thinking"]) == ("", "hm")
    assert "thinking" not in objects[1]


def test_inline_thinking_has_each_tag_in_an_object_of_its_own() -> None:
    call = ollama_chat(settings=INLINE)
    lines = written(ollama_stream(call), ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("47"), finished())
    assert texts(validated(lines, call)) == ["<think>", "\nh", "m", "</think>", "\n\n47", ""]


def test_inline_thinking_cut_by_the_limit_gets_no_closing_tag() -> None:
    call = ollama_chat(settings=INLINE)
    lines = written(ollama_stream(call), ReasoningDelta("hm"), finished("length"))
    assert texts(validated(lines, call)) == ["<think>", "\nhm", ""]


def test_tool_calls_have_object_arguments_and_stop_as_the_reason() -> None:
    call = ollama_chat()
    second = ToolCall("call_2", "g", "")
    deltas = (ToolCallDelta(CALL), ToolCallDelta(second), finished("tool_calls"))
    objects = validated(written(ollama_stream(call), *deltas), call)
    first = {"index": 0, "name": "get_weather", "arguments": {"city": "Tokyo"}}
    assert [entry["message"] for entry in objects] == [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "call_ab12cd34", "function": first}]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_2", "function": {"index": 1, "name": "g", "arguments": {}}}],
        },
        {"role": "assistant", "content": ""},
    ]
    assert objects[-1]["done_reason"] == "stop"


@pytest.mark.parametrize(
    "after", [TextDelta("x"), ToolCallDelta(ToolCall("call_2", "g", "{}")), finished("tool_calls")]
)
def test_a_call_that_arrives_in_parts_is_sent_once_it_is_complete(after: Delta) -> None:
    stream = ollama_stream(ollama_chat())
    parts = [ToolCallPart("", 0, "call_1", "f"), ToolCallPart('{"a":'), ToolCallPart("1}")]
    assert b"".join(map(stream.encode, parts)) == b""
    first = ndjson_objects(stream.encode(after))[0]
    function = {"index": 0, "name": "f", "arguments": {"a": 1}}
    assert first["message"]["tool_calls"] == [{"id": "call_1", "function": function}]


@pytest.mark.parametrize(("arguments", "calls"), [('{"a": 1', 1), ('{"a": 1}', 2)])
def test_a_call_whose_arguments_are_cut_is_not_sent(arguments: str, calls: int) -> None:
    parts = (ToolCallPart("{}", 0, "call_1", "f"), ToolCallPart(arguments, 0, "call_2", "g"))
    objects = ndjson_objects(written(ollama_stream(ollama_chat()), *parts, finished("length")))
    assert sum(len(entry["message"].get("tool_calls", [])) for entry in objects) == calls
    cut = [ToolCall("call_1", "f", "{}"), ToolCall("call_2", "g", arguments)]
    whole = completion(Choice(tool_calls=cut, finish_reason="length"))
    [entry] = ndjson_objects(ollama_answer.answer(ollama_chat(), whole, NOW))
    assert len(entry["message"]["tool_calls"]) == calls
    assert entry["done_reason"] == "length"


def test_calls_in_parts_are_counted() -> None:
    stream = ollama_stream(ollama_chat())
    parts = (ToolCallPart("{}", 0, "call_1", "f"), ToolCallPart("{}", 0, "call_2", "g"))
    objects = ndjson_objects(written(stream, *parts, finished("tool_calls")))
    assert [call["function"]["index"] for entry in objects for call in entry["message"].get("tool_calls", [])] == [0, 1]


def test_tool_calls_of_a_whole_answer_are_in_its_message() -> None:
    answer = completion(Choice(text="Look:", reasoning="hm", tool_calls=[CALL], finish_reason="tool_calls"))
    [entry] = ndjson_objects(ollama_answer.answer(ollama_chat(), answer, NOW))
    assert entry["message"] == {
        "role": "assistant",
        "content": "Look:",
        "thinking": "hm",
        "tool_calls": [
            {
                "id": "call_ab12cd34",
                "function": {"index": 0, "name": "get_weather", "arguments": {"city": "Tokyo"}},
            }
        ],
    }
    assert entry["done_reason"] == "stop"


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{\n  "a": [1,\n 2]\n}', {"a": [1, 2]}),
        ('{"a":"\u2028é"}', {"a": "\u2028é"}),
        ('{"a":' + "9" * 30 + "}", {"a": int("9" * 30)}),
        ('{"a":', {"arguments": '{"a":'}),
        ("[1]", {"arguments": "[1]"}),
        ('{"a":NaN}', {"arguments": '{"a":NaN}'}),
        ('{"a":1e999}', {"arguments": '{"a":1e999}'}),
        ("[" * 100_000, {"arguments": "[" * 100_000}),
    ],
)
def test_any_arguments_become_an_object_on_one_line(arguments: str, sent: object) -> None:
    lines = ollama_stream(ollama_chat()).encode(ToolCallDelta(ToolCall("c", "f", arguments)))
    [entry] = ndjson_objects(lines)
    [call] = entry["message"]["tool_calls"]
    assert call["function"]["arguments"] == sent


def test_log_probabilities_with_and_without_alternatives() -> None:
    call = ollama_chat(logprobs=True, top_logprobs=2)
    delta = TextDelta("Hel", logprobs=(LOGPROB,))
    [entry] = validated(ollama_stream(call).encode(delta), call)
    assert entry["logprobs"] == [
        {
            "token": "Hel",
            "logprob": -0.01,
            "bytes": [72, 101, 108],
            "top_logprobs": [
                {"token": "Hel", "logprob": -0.01, "bytes": [72, 101, 108]},
                {"token": "\ufffd", "logprob": -9999.0, "bytes": [226, 130]},
            ],
        }
    ]
    [bare] = ndjson_objects(ollama_stream(ollama_chat(logprobs=True)).encode(delta))
    assert bare["logprobs"] == [{"token": "Hel", "logprob": -0.01, "bytes": [72, 101, 108]}]
    [unasked] = ndjson_objects(ollama_stream(ollama_chat()).encode(delta))
    assert "logprobs" not in unasked


def test_log_probabilities_of_inline_thinking_are_beside_its_text() -> None:
    call = ollama_chat(logprobs=True, settings=INLINE)
    objects = validated(ollama_stream(call).encode(ReasoningDelta("hm", logprobs=(LOGPROB,))), call)
    assert ["logprobs" in entry for entry in objects] == [False, True]


def test_durations_are_never_0_and_the_total_covers_its_parts() -> None:
    end = Finished(("stop",), TokenUsage(5, 0), Timings(0, 0, 0, 7))
    [last] = ndjson_objects(ollama_stream(ollama_chat()).encode(end))
    names = ("load_duration", "prompt_eval_duration", "eval_duration", "total_duration")
    assert [last[name] for name in names] == [1, 1, 7, 9]
    assert (last["prompt_eval_count"], last["eval_count"]) == (5, 0)


@pytest.mark.parametrize(("size", "is_sent"), [(0, False), (8192, True), (8193, False)])
def test_a_long_context_is_left_out(size: int, is_sent: bool) -> None:
    [last] = ndjson_objects(ollama_stream(ollama_generate()).encode(finished(context=(1,) * size)))
    assert ("context" in last) is is_sent


def test_a_chat_has_no_context() -> None:
    [last] = ndjson_objects(ollama_stream(ollama_chat()).encode(finished(context=(1,))))
    assert "context" not in last


def test_every_line_is_ascii() -> None:
    text = "\u2028\u0085é你😀\n"
    call = ollama_chat(model="modèle")
    lines = written(ollama_stream(call), TextDelta(text), finished())
    assert lines.isascii()
    assert texts(validated(lines, call))[0] == text


@pytest.mark.parametrize("settings", [INLINE, DialectSettings()])
@pytest.mark.parametrize(
    "deltas",
    [
        [TextDelta("a"), TextDelta("b")],
        [ReasoningDelta("x"), ReasoningDelta("y"), TextDelta("a"), TextDelta("b")],
        [ReasoningDelta("x"), ToolCallDelta(CALL)],
        [ReasoningDelta("x")],
        [],
    ],
)
async def test_a_stream_adds_up_to_the_whole_answer(settings: DialectSettings, deltas: list[Delta]) -> None:
    async def generate() -> AsyncGenerator[Delta, None]:
        for delta in [*deltas, end]:
            yield delta

    end = Finished(("stop",), USAGE, TIMINGS)
    call = ollama_chat(settings=settings)
    parts = [entry["message"] for entry in validated(written(ollama_stream(call), *deltas, end), call)]
    [whole] = ndjson_objects(ollama_answer.answer(call, await collect(generate()), NOW))
    ChatResponse.model_validate(whole)
    for key in ("content", "thinking"):
        added = "".join(part.get(key, "") for part in parts)
        assert added == whole["message"].get(key, "")


def test_a_keepalive_is_a_space_before_the_next_object() -> None:
    stream = ollama_stream(ollama_chat())
    line = stream.keepalive(1, 2) + stream.encode(TextDelta("a"))
    assert line.startswith(b' {"model"')
    assert json.loads(line)["done"] is False


@pytest.mark.parametrize(("unload", "reason"), [(False, "load"), (True, "unload")])
def test_golden_bytes_of_loads_and_unloads(unload: bool, reason: str) -> None:
    chat = ollama_answer.load_answer(OllamaLoadCall("chat", "m", unload=unload), NOW)
    assert chat.decode() == (
        f'{{{AT},"message":{{"role":"assistant","content":""}},"done":true,"done_reason":"{reason}"}}\n'
    )
    generate = ollama_answer.load_answer(OllamaLoadCall("generate", "m", unload=unload), NOW)
    assert generate.decode() == f'{{{AT},"response":"","done":true,"done_reason":"{reason}"}}\n'
    ChatResponse.model_validate(json.loads(chat))
    GenerateResponse.model_validate(json.loads(generate))


def test_a_pull_of_an_installed_model_succeeds() -> None:
    assert ollama_answer.pull_success(OllamaPullCall("x", stream=False)) == b'{"status":"success"}\n'
    assert ollama_answer.pull_success(OllamaPullCall("x")) == b'{"status":"pulling manifest"}\n{"status":"success"}\n'


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InvalidRequest("model is required"), "model is required"),
        (InvalidRequest("invalid model name"), "invalid model name"),
        (ModelNotFound("whatever", model="x"), "model 'x' not found"),
        (ModelNotFound("whatever"), "model '' not found"),
        (ReasoningUnsupported("whatever", model="x"), '"x" does not support thinking'),
        (ContextLengthExceeded("9 > 8"), "the input length exceeds the context length"),
        (Unauthenticated("whatever"), "unauthorized"),
        (QueueFull("whatever"), "server busy, please try again.  maximum pending requests exceeded"),
        (Forbidden("pulling models is disabled on this server"), "pulling models is disabled on this server"),
        (EngineFailed("boom \u2028"), "boom \u2028"),
        (
            MediaUnsupported("whatever", model="m"),
            "The request includes images, video or audio, but 'm' cannot be loaded as a vision model. "
            "Choose a vision-capable model or remove the attachments.",
        ),
    ],
)
def test_errors_have_ollamas_texts(error: PicoError, message: str) -> None:
    body = ollama_answer.error_body(error)
    assert body.isascii()
    assert ndjson_objects(body) == [{"error": message}]
    assert ollama_stream(ollama_chat()).error(error) == body


def test_a_stream_has_a_readable_repr() -> None:
    assert repr(ollama_stream(ollama_chat())) == "<OllamaAnswerStream chat r1>"


def test_hidden_reasoning_is_in_no_line() -> None:
    call = ollama_chat(logprobs=True, include_reasoning=False)
    stream = ollama_stream(call)
    assert stream.encode(ReasoningDelta("hm", logprobs=(LOGPROB,))) == b""
    choice = Choice(text="47", reasoning="hm", reasoning_logprobs=[LOGPROB])
    whole = json.loads(ollama_answer.answer(call, completion(choice), NOW))
    assert whole["message"] == {"role": "assistant", "content": "47"}
    assert "logprobs" not in whole


def test_a_whole_answer_has_the_logprobs_of_its_thinking_first_as_in_ollama() -> None:
    said = TokenLogprob("47", -0.25, b"47")
    choice = Choice(text="47", reasoning="Hel", logprobs=[said], reasoning_logprobs=[LOGPROB])
    whole = json.loads(ollama_answer.answer(ollama_chat(logprobs=True), completion(choice), NOW))
    assert [entry["token"] for entry in whole["logprobs"]] == ["Hel", "47"]
