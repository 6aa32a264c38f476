"""The answers of v1/responses, checked byte by byte and by the models of OpenAI's SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest

from pico_jupyter.client import Choice, collect
from pico_jupyter.dialects import responses_answer
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.errors import (
    ContextLengthExceeded,
    EngineFailed,
    InvalidRequest,
    ModelNotFound,
    PicoError,
    QueueFull,
)
from pico_jupyter.types import (
    Accepted,
    Delta,
    FinishReason,
    Progress,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallPart,
)
from tests.dialects.responses_samples import (
    responses_call,
    responses_stream,
    types_of,
    validated_events,
    validated_response,
)
from tests.dialects.samples import LOGPROB, Json, completion, finished, written

ADD = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": False}
TOOLS = [ADD, {"type": "namespace", "name": "mcp__calc", "description": "", "tools": [ADD]}]
PATCH = {"type": "custom", "name": "patch"}
MESSAGE = ["output_item.added", "content_part.added", "output_text.delta"]
MESSAGE_END = ["output_text.done", "content_part.done", "output_item.done"]
BEGIN = ["created", "in_progress"]


def final_of(events: list[Json]) -> Json:
    response: Json = events[-1]["response"]
    return response


def test_golden_bytes_of_a_stream() -> None:
    frames = written(responses_stream(responses_call(stream=True)), TextDelta("Hi"), finished()).decode()
    at = '"item_id":"msg_r1_o0","output_index":0,"content_index":0'
    item = '"type":"message","id":"msg_r1_o0"'
    part = '{"type":"output_text","text":"Hi","annotations":[],"logprobs":[]}'
    added, done = "response.content_part.added", "response.content_part.done"
    assert frames.split("\n\n")[2:-2] == [
        'event: response.output_item.added\ndata: {"type":"response.output_item.added","sequence_number":2,'
        f'"output_index":0,"item":{{{item},"status":"in_progress","role":"assistant","content":[]}}}}',
        f'event: {added}\ndata: {{"type":"{added}","sequence_number":3,{at},'
        '"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}',
        'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":4,'
        f'{at},"delta":"Hi","logprobs":[]}}',
        'event: response.output_text.done\ndata: {"type":"response.output_text.done","sequence_number":5,'
        f'{at},"text":"Hi","logprobs":[]}}',
        f'event: {done}\ndata: {{"type":"{done}","sequence_number":6,{at},"part":{part}}}',
        'event: response.output_item.done\ndata: {"type":"response.output_item.done","sequence_number":7,'
        f'"output_index":0,"item":{{{item},"status":"completed","role":"assistant","content":[{part}]}}}}',
    ]


def test_golden_bytes_of_a_whole_response() -> None:
    body = responses_stream(responses_call()).whole(completion(Choice(text="Hi")))
    assert body.decode() == (
        '{"id":"resp_r1","object":"response","created_at":1763800000,"status":"completed","completed_at":1763800000,'
        '"error":null,"incomplete_details":null,"background":false,"instructions":null,"max_output_tokens":null,'
        '"max_tool_calls":null,"metadata":{},"model":"m","output":[{"type":"message","id":"msg_r1_o0",'
        '"status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[],'
        '"logprobs":[]}]}],"parallel_tool_calls":true,"previous_response_id":null,'
        '"reasoning":{"effort":null,"summary":null},"store":true,"temperature":null,"text":{"format":{"type":"text"}},'
        '"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":null,"truncation":"disabled",'
        '"usage":{"input_tokens":12,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},'
        '"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":14},"user":null}'
    )
    validated_response(body)


def test_the_events_of_reasoning_and_text() -> None:
    deltas = (Accepted("m", 12, True), Progress("prefill", 1, 2), ReasoningDelta("h"), ReasoningDelta("m"))
    frames = written(responses_stream(responses_call(stream=True)), *deltas, TextDelta("47"), finished())
    events = validated_events(frames)
    assert types_of(events) == [
        *BEGIN,
        *("output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *MESSAGE,
        *MESSAGE_END,
        "completed",
    ]
    reasoning, message = final_of(events)["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert (reasoning["summary"], "encrypted_content" in reasoning) == ([], False)
    assert message["content"][0]["text"] == "47"


def test_nothing_is_sent_before_the_first_token() -> None:
    stream = responses_stream(responses_call(stream=True))
    assert written(stream, Accepted("m", 12, False), Progress("load", 1, 2)) == b""


def test_reasoning_is_packed_if_include_asks_for_it() -> None:
    call = responses_call(stream=True, include=["reasoning.encrypted_content"])
    events = validated_events(written(responses_stream(call), ReasoningDelta("hm"), TextDelta("47"), finished()))
    item = final_of(events)["output"][0]
    again = responses_call(input=[{"role": "user", "content": "a"}, {**item, "content": None}])
    assert again.request.prompt.messages[1].reasoning == "hm"  # type: ignore[union-attr]  # it is a ChatPrompt


@pytest.mark.parametrize("members", [{"include_reasoning": False}, {"reasoning": {"exclude": True}}])
def test_hidden_reasoning_is_in_no_event(members: Json) -> None:
    call = responses_call(stream=True, **members)
    frames = written(responses_stream(call), ReasoningDelta("hm"), TextDelta("47"), finished())
    assert b"hm" not in frames
    assert [item["type"] for item in final_of(validated_events(frames))["output"]] == ["message"]


def test_inline_reasoning_is_in_the_text() -> None:
    call = responses_call(stream=True, settings=DialectSettings(reasoning_output="inline"))
    frames = written(responses_stream(call), ReasoningDelta("hm"), TextDelta("47"), finished())
    [message] = final_of(validated_events(frames))["output"]
    assert message["content"][0]["text"] == "<think>\nhm</think>\n\n47"


def test_the_parts_of_a_call_are_its_arguments() -> None:
    parts = (ToolCallPart("", 0, "call_1", "add"), ToolCallPart('{"a"'), ToolCallPart(":1}"))
    call = responses_call(stream=True, tools=TOOLS)
    events = validated_events(written(responses_stream(call), *parts, finished("tool_calls")))
    delta, done = "function_call_arguments.delta", "function_call_arguments.done"
    assert types_of(events) == [
        *BEGIN,
        *("output_item.added", delta, delta, done, "output_item.done"),
        "completed",
    ]
    assert final_of(events)["output"] == [
        {
            "type": "function_call",
            "id": "fc_r1_o0",
            "status": "completed",
            "call_id": "call_1",
            "name": "add",
            "arguments": '{"a":1}',
        }
    ]


def test_a_call_of_a_tool_in_a_namespace_has_both_names() -> None:
    call = responses_call(stream=True, tools=TOOLS)
    delta = ToolCallDelta(ToolCall("call_1", "mcp__calc__add", "{}"))
    events = validated_events(written(responses_stream(call), delta, finished("tool_calls")))
    [item] = final_of(events)["output"]
    assert (item["namespace"], item["name"]) == ("mcp__calc", "add")


@pytest.mark.parametrize("arguments", ['{"input":"+a\\n"}', "+a\n"])
def test_a_call_of_a_custom_tool_has_text(arguments: str) -> None:
    call = responses_call(stream=True, tools=[PATCH])
    parts = (ToolCallPart("", 0, "call_1", "patch"), ToolCallPart(arguments))
    events = validated_events(written(responses_stream(call), *parts, finished("tool_calls")))
    added, delta, done = "output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done"
    assert types_of(events) == [*BEGIN, added, delta, done, "output_item.done", "completed"]
    [item] = final_of(events)["output"]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "patch", "+a\n")


def test_empty_arguments_are_an_empty_object() -> None:
    call = responses_call(stream=True, tools=[ADD])
    delta = ToolCallDelta(ToolCall("call_1", "add", ""))
    events = validated_events(written(responses_stream(call), delta, finished("tool_calls")))
    deltas = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    assert (deltas, final_of(events)["output"][0]["arguments"]) == (["{}"], "{}")


def test_without_parallel_calls_only_the_first_one_is_sent() -> None:
    call = responses_call(stream=True, tools=[ADD], parallel_tool_calls=False)
    parts = (ToolCallPart("{}", 0, "call_1", "add"), ToolCallPart("", 0, "call_2", "add"), ToolCallPart("{}"))
    events = validated_events(written(responses_stream(call), *parts, finished("tool_calls")))
    assert [item["call_id"] for item in final_of(events)["output"]] == ["call_1"]


def test_the_items_of_an_answer_have_indexes_in_their_order() -> None:
    call = responses_call(stream=True, tools=[ADD])
    calls = [ToolCallDelta(ToolCall(f"call_{i}", "add", "{}")) for i in range(2)]
    deltas = (ReasoningDelta("hm"), TextDelta("Let me add."), *calls)
    events = validated_events(written(responses_stream(call), *deltas, finished("tool_calls")))
    added = [event for event in events if event["type"] == "response.output_item.added"]
    assert [event["output_index"] for event in added] == [0, 1, 2, 3]
    assert [event["item"]["id"] for event in added] == [item["id"] for item in final_of(events)["output"]]


def test_an_answer_that_a_limit_cut_is_incomplete() -> None:
    events = validated_events(
        written(responses_stream(responses_call(stream=True)), TextDelta("4"), finished("length"))
    )
    assert events[-1]["type"] == "response.incomplete"
    response = final_of(events)
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["output"][0]["status"] == "incomplete"


def test_an_answer_without_tokens_is_an_empty_message() -> None:
    response = final_of(validated_events(written(responses_stream(responses_call(stream=True)), finished())))
    assert [part["text"] for item in response["output"] for part in item["content"]] == [""]


def test_log_probabilities_are_sent_if_include_asks_for_them() -> None:
    members: Json = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    delta = TextDelta("Hel", logprobs=(LOGPROB,))
    events = validated_events(written(responses_stream(responses_call(stream=True, **members)), delta, finished()))
    part = final_of(events)["output"][0]["content"][0]
    entries = [event["logprobs"] for event in events if event["type"].startswith("response.output_text")]
    assert [[entry["token"] for entry in found] for found in [*entries, part["logprobs"]]] == [["Hel"]] * 3
    assert [top["token"] for top in part["logprobs"][0]["top_logprobs"]] == ["Hel", "\ufffd"]


def test_log_probabilities_are_not_sent_unless_requested() -> None:
    delta = TextDelta("Hel", logprobs=(LOGPROB,))
    assert b'"token"' not in written(responses_stream(responses_call(stream=True)), delta, finished())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineFailed("x"), "server_error"),
        (QueueFull("x"), "rate_limit_exceeded"),
        (InvalidRequest("x"), "invalid_prompt"),
    ],
)
def test_a_failure_in_the_middle_of_a_stream_is_an_error_and_a_failed_response(error: PicoError, code: str) -> None:
    stream = responses_stream(responses_call(stream=True))
    events = validated_events(written(stream, TextDelta("4")) + stream.error(error))
    assert types_of(events)[-2:] == ["error", "failed"]
    assert final_of(events)["error"] == {"code": code, "message": "x"}
    assert final_of(events)["output"][0]["content"][0]["text"] == "4"


def test_a_failure_before_the_first_token_begins_the_stream() -> None:
    frames = responses_stream(responses_call(stream=True)).error(EngineFailed("x"))
    assert types_of(validated_events(frames)) == [*BEGIN, "error", "failed"]


def test_a_prompt_that_is_too_long_has_the_code_that_codex_reads() -> None:
    frames = responses_stream(responses_call(stream=True)).error(ContextLengthExceeded("x"))
    assert b'"error":{"code":"context_length_exceeded","message":"x"}' in frames
    assert json.loads(responses_answer.error_body(ContextLengthExceeded("x")))["error"]["param"] == "input"
    error = ContextLengthExceeded("x", param="messages[2]")
    assert json.loads(responses_answer.error_body(error))["error"]["param"] == "input"


def test_errors_have_the_form_of_openai() -> None:
    body = json.loads(responses_answer.error_body(ModelNotFound("x", model="m")))
    assert body["error"]["code"] == "model_not_found"


def test_a_response_returns_what_the_request_set() -> None:
    members: Json = {
        "instructions": "Be brief.",
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "reasoning": {"effort": "high", "summary": "auto"},
        "temperature": 0.5,
        "top_p": 0.75,
        "truncation": "auto",
        "user": "u",
        "store": False,
        "tools": [*TOOLS, PATCH],
        "tool_choice": {"type": "function", "name": "add"},
        "parallel_tool_calls": False,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    }
    response = validated_response(responses_stream(responses_call(**members)).whole(completion(Choice(text="{}"))))
    assert response["reasoning"] == {"effort": "high", "summary": None}
    assert response["text"]["format"]["schema"] == {"type": "object"}
    assert [tool["type"] for tool in response["tools"]] == ["function", "namespace", "custom"]
    assert response["tool_choice"]["name"] == "add"
    kept = members.keys() - {"reasoning", "text", "tools", "tool_choice"}
    assert {name: response[name] for name in kept} == {name: members[name] for name in kept}


def test_a_response_is_saved_before_its_last_event() -> None:
    saved: list[bytes] = []
    stream = responses_stream(responses_call(stream=True), saved)
    stream.encode(TextDelta("47"))
    assert saved == []
    events = validated_events(responses_stream(responses_call(stream=True), saved).encode(finished()))
    assert [json.loads(body) for body in saved] == [final_of(events)]


def test_a_failed_response_is_not_saved() -> None:
    saved: list[bytes] = []
    responses_stream(responses_call(stream=True), saved).error(EngineFailed("x"))
    assert saved == []


def test_a_keepalive_is_a_comment() -> None:
    assert responses_stream(responses_call()).keepalive(1, 2) == b": keepalive 1/2\n\n"


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize(
    "deltas",
    [
        [TextDelta("a"), TextDelta("b")],
        [ReasoningDelta("x"), ReasoningDelta("y"), TextDelta("a")],
        [ReasoningDelta("x")],
        [ReasoningDelta("x"), TextDelta("a"), ToolCallDelta(ToolCall("c", "add", "{}"))],
        [],
    ],
)
async def test_a_stream_ends_with_the_whole_response(deltas: list[Delta], reason: FinishReason) -> None:
    async def generate() -> AsyncGenerator[Delta, None]:
        for delta in [*deltas, finished(reason)]:
            yield delta

    call = responses_call(stream=True, tools=[ADD])
    events = validated_events(written(responses_stream(call), *deltas, finished(reason)))
    assert final_of(events) == validated_response(responses_stream(call).whole(await collect(generate())))


def test_pages_of_input_items_have_a_limit_and_an_order() -> None:
    items = [{"id": str(i)} for i in range(5)]
    first = json.loads(responses_answer.input_list(items, after="", limit=2, descending=True))
    assert [item["id"] for item in first["data"]] == ["4", "3"]
    assert (first["first_id"], first["last_id"], first["has_more"]) == ("4", "3", True)
    last = json.loads(responses_answer.input_list(items, after="2", limit=9, descending=False))
    assert ([item["id"] for item in last["data"]], last["has_more"]) == (["3", "4"], False)
    assert json.loads(responses_answer.input_list(items, after="?", limit=9, descending=False))["data"] == []
