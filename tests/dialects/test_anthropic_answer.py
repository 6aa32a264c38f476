from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import ErrorResponse, Message, MessageTokensCount, ModelInfo, RawMessageStreamEvent
from pydantic import TypeAdapter

from pico_jupyter.client import Choice
from pico_jupyter.dialects import anthropic_answer
from pico_jupyter.dialects.anthropic_answer import AnthropicStream, anthropic_message
from pico_jupyter.dialects.anthropic_errors import AnthropicErrors
from pico_jupyter.dialects.anthropic_request import AnthropicCall
from pico_jupyter.errors import (
    ContextLengthExceeded,
    EngineFailed,
    Forbidden,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    PicoError,
    QueueFull,
    RequestTooLarge,
    Unauthenticated,
)
from pico_jupyter.types import (
    Accepted,
    Delta,
    Progress,
    ReasoningDelta,
    TextDelta,
    TokenUsage,
    ToolCall,
    ToolCallDelta,
    ToolCallPart,
)
from tests.dialects.samples import MODEL, Json, anthropic_call, completion, finished, written

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]
ONE_CALL = {"tools": TOOLS, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
FIRST = ToolCall("call_1", "f", '{"a":1}')
SECOND = ToolCall("call_2", "f", "{}")


def stream_of(call: AnthropicCall) -> AnthropicStream:
    return AnthropicStream(call, "msg_x", "req_x")


def events(frames: bytes) -> list[Json]:
    """The events, which the SDK's own models accept in strict mode. Each has the name of its type."""
    found = []
    for event in frames.decode("ascii").split("\n\n")[:-1]:
        name, data = event.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        EVENT.validate_python(value, strict=True)
        found.append(value)
    return found


def streamed(*deltas: Delta, **members: Any) -> list[Json]:
    return events(written(stream_of(anthropic_call(stream=True, **members)), Accepted("m", 12, False), *deltas))


def types(found: list[Json]) -> list[str]:
    return [event.get("delta", event.get("content_block", event)).get("type", event["type"]) for event in found]


def whole(choice: Choice, **members: Any) -> Json:
    message: Json = json.loads(anthropic_message(anthropic_call(**members), completion(choice), "msg_x"))
    Message.model_validate(message, strict=True)
    return message


def test_golden_bytes_of_a_stream() -> None:
    frames = written(stream_of(anthropic_call(stream=True)), Accepted("m", 12, False), TextDelta("Hel"), finished())
    usage = '"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
    details = '"output_tokens_details":{"thinking_tokens":0}}'
    assert frames.decode() == (
        'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_x","type":"message",'
        '"role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,'
        f'"usage":{{"input_tokens":12,{usage}"output_tokens":0,{details}}}}}\n\n'
        'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        '"content_block":{"type":"text","text":""}}\n\n'
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        '"delta":{"type":"text_delta","text":"Hel"}}\n\n'
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        f'"usage":{{"input_tokens":12,{usage}"output_tokens":2,{details}}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


def test_golden_bytes_of_a_whole_answer() -> None:
    answer = completion(Choice(text="47", reasoning="hm"))
    assert anthropic_message(anthropic_call(), answer, "msg_x").decode() == (
        '{"id":"msg_x","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"hm",'
        '"signature":"pico_jupyter"},{"type":"text","text":"47"}],"stop_reason":"end_turn","stop_sequence":null,'
        '"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":2,'
        '"output_tokens_details":{"thinking_tokens":0}}}'
    )


def test_nothing_is_written_before_the_first_content() -> None:
    stream = stream_of(anthropic_call(stream=True))
    assert (
        written(stream, Accepted("m", 12, False), Progress("prefill", 1, 2), TextDelta(""), ReasoningDelta("")) == b""
    )


def test_an_empty_answer_has_a_start_and_an_end() -> None:
    assert types(streamed(finished("length"))) == ["message_start", "message_delta", "message_stop"]


def test_reasoning_is_a_signed_block_before_the_text() -> None:
    found = streamed(ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("47"), finished())
    assert types(found[1:-2]) == [
        *("thinking", "thinking_delta", "thinking_delta", "signature_delta", "content_block_stop"),
        *("text", "text_delta", "content_block_stop"),
    ]
    assert [event["index"] for event in found[1:-2]] == [0] * 5 + [1] * 3


def test_omitted_reasoning_is_an_empty_signed_block() -> None:
    hidden = {"thinking": {"type": "adaptive", "display": "omitted"}}
    found = streamed(ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("47"), finished(), **hidden)
    assert types(found[1:4]) == ["thinking", "signature_delta", "content_block_stop"]
    assert whole(Choice(text="47", reasoning="hm"), **hidden)["content"][0]["thinking"] == ""


def test_reasoning_may_be_in_the_text_or_left_out() -> None:
    deltas = (ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("47"), finished())
    for members, text in (
        ({"separate_reasoning": False}, "<think>\nhm</think>\n\n47"),
        ({"include_reasoning": False}, "47"),
    ):
        found = streamed(*deltas, **members)
        assert types(found[1:-2])[0] == "text"
        assert "".join(event["delta"].get("text", "") for event in found if "delta" in event) == text
        content = whole(Choice(text="47", reasoning="hm"), **members)["content"]
        assert content == [{"type": "text", "text": text}]


def test_reasoning_in_the_text_is_closed_before_a_call() -> None:
    found = streamed(ReasoningDelta("hm"), ToolCallDelta(FIRST), finished("tool_calls"), separate_reasoning=False)
    assert "".join(event["delta"].get("text", "") for event in found if "delta" in event) == "<think>\nhm</think>"


def test_a_call_is_a_block_whose_input_arrives_as_json_text() -> None:
    parts = [ToolCallPart('{"a"', 0, "call_1", "f"), ToolCallPart(":1}"), ToolCallDelta(SECOND)]
    found = streamed(TextDelta("Hm. "), *parts, finished("tool_calls"), tools=TOOLS)
    blocks = [event["content_block"] for event in found if event["type"] == "content_block_start"]
    assert blocks[1:] == [{"type": "tool_use", "id": id_, "name": "f", "input": {}} for id_ in ("call_1", "call_2")]
    pieces = [event["delta"]["partial_json"] for event in found if "partial_json" in event.get("delta", {})]
    assert pieces == ['{"a"', ":1}", "{}"]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


def test_without_parallel_calls_further_calls_are_left_out() -> None:
    calls = [ToolCallDelta(FIRST), ToolCallPart("{", 0, "call_2", "f"), ToolCallPart("}")]
    found = streamed(*calls, finished("tool_calls"), **ONE_CALL)
    assert types(found).count("tool_use") == 1
    assert types(found).count("input_json_delta") == 1
    message = whole(Choice(tool_calls=[FIRST, SECOND], finish_reason="tool_calls"), **ONE_CALL)
    assert [block["id"] for block in message["content"]] == ["call_1"]


def test_arguments_that_are_no_object_become_a_member_of_one() -> None:
    bad = ToolCall("c", "f", "[1")
    message = whole(Choice(tool_calls=[bad], finish_reason="tool_calls"), tools=TOOLS)
    assert message["content"] == [{"type": "tool_use", "id": "c", "name": "f", "input": {"arguments": "[1"}}]
    found = streamed(ToolCallDelta(bad), finished("tool_calls"), tools=TOOLS)
    assert json.loads(found[2]["delta"]["partial_json"]) == {"arguments": "[1"}


@pytest.mark.parametrize(
    ("reason", "stop", "expected"),
    [
        ("stop", "", ("end_turn", None)),
        ("stop", "END", ("stop_sequence", "END")),
        ("stop", "<|im_end|>", ("end_turn", None)),
        ("length", "", ("max_tokens", None)),
        ("tool_calls", "", ("tool_use", None)),
    ],
)
def test_the_reason_to_stop_is_named(reason: Any, stop: str, expected: tuple[str, str | None]) -> None:
    message = whole(Choice(text="a", finish_reason=reason, stop_string=stop), stop_sequences=["END"])
    assert (message["stop_reason"], message["stop_sequence"]) == expected


def test_cached_tokens_are_counted_apart() -> None:
    answer = completion(Choice(text="a"))
    answer.usage = TokenUsage(prompt_tokens=12, completion_tokens=2, cached_tokens=9, reasoning_tokens=1)
    assert json.loads(anthropic_message(anthropic_call(), answer, "msg_x"))["usage"] == {
        "input_tokens": 3,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 9,
        "output_tokens": 2,
        "output_tokens_details": {"thinking_tokens": 1},
    }


def test_a_keepalive_is_a_ping() -> None:
    frame = stream_of(anthropic_call(stream=True)).keepalive(1, 2)
    assert frame == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_an_error_in_a_stream_is_its_last_event() -> None:
    frame = stream_of(anthropic_call(stream=True)).error(EngineFailed("the engine failed"))
    name, data, *_ = frame.decode().split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: ")) == {
        "type": "error",
        "error": {"type": "api_error", "message": "the engine failed"},
        "request_id": "req_x",
    }


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequest("x"), "invalid_request_error"),
        (Unauthenticated("x"), "authentication_error"),
        (Forbidden("x"), "permission_error"),
        (ModelNotFound("x", model="m"), "not_found_error"),
        (NotFound("x"), "invalid_request_error"),
        (QueueFull("x"), "overloaded_error"),
        (EngineFailed("x"), "api_error"),
    ],
)
def test_errors_have_the_types_of_the_sdk(error: PicoError, kind: str) -> None:
    body = json.loads(AnthropicErrors("req_x").error_body(error))
    assert ErrorResponse.model_validate(body, strict=True).error.type == kind


def test_a_body_that_is_too_large_has_anthropics_type() -> None:
    # The SDK has no class for this type.
    body = json.loads(AnthropicErrors("req_x").error_body(RequestTooLarge("x")))
    assert body["error"]["type"] == "request_too_large"


def test_a_prompt_that_is_too_long_is_reported_as_claude_code_expects() -> None:
    body = json.loads(AnthropicErrors("req_x").error_body(ContextLengthExceeded("the prompt has 9 tokens")))
    assert body["error"]["message"].startswith("prompt is too long: ")


def test_models_are_listed_in_anthropics_form() -> None:
    listed = json.loads(anthropic_answer.anthropic_models([MODEL]))
    ModelInfo.model_validate_json(json.dumps(listed["data"][0]), strict=True)
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == (MODEL.name, MODEL.name, False)
    assert listed["data"][0]["created_at"] == "2025-02-26T17:48:06Z"
    assert json.loads(anthropic_answer.anthropic_models([]))["first_id"] is None
    assert json.loads(anthropic_answer.anthropic_model(MODEL)) == listed["data"][0]


def test_tokens_are_counted() -> None:
    body = anthropic_answer.token_count([1, 2, -3])
    assert MessageTokensCount.model_validate_json(body, strict=True).input_tokens == 3
