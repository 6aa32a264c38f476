import json
from collections.abc import AsyncGenerator

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.model import Model

from pico_jupyter.client import Choice, collect
from pico_jupyter.dialects import openai_answer
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.errors import (
    ContextLengthExceeded,
    EngineFailed,
    EngineUnavailable,
    Forbidden,
    InvalidRequest,
    MediaUnsupported,
    MethodNotAllowed,
    ModelLoadFailed,
    ModelNotFound,
    NotFound,
    NotSupported,
    PicoError,
    QueueFull,
    RequestTooLarge,
    TemplateFailed,
    Unauthenticated,
)
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    FinishReason,
    Progress,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    ToolCallPart,
)
from tests.dialects.samples import (
    LOGPROB,
    MODEL,
    TIMINGS,
    USAGE,
    Json,
    chat_call,
    completion,
    deltas_of,
    finished,
    openai_stream,
    sse_objects,
    written,
)

HEAD = (
    '"id":"chatcmpl-x","object":"chat.completion.chunk","created":1763800000,"model":"m",'
    '"system_fingerprint":"fp_pico_jupyter"'
)
CALL = ToolCall("call_ab12cd34", "f", '{"a":1}')
INLINE = DialectSettings(reasoning_output="inline")
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def validated(frames: bytes) -> list[Json]:
    """The frames, which the SDK's own models accept in strict mode."""
    objects = sse_objects(frames)
    for frame in objects:
        ChatCompletionChunk.model_validate(frame)
        assert {"id", "object", "created", "model", "choices"} <= frame.keys()
    return objects


def message_of(body: bytes) -> Json:
    ChatCompletion.model_validate(json.loads(body))
    message: Json = json.loads(body)["choices"][0]["message"]
    return message


def test_golden_bytes_of_a_stream_with_usage() -> None:
    stream = openai_stream(chat_call(**WITH_USAGE))
    expected = (
        f'data: {{{HEAD},"choices":[{{"index":0,"delta":{{"role":"assistant","content":""}},"logprobs":null,'
        '"finish_reason":null}],"usage":null}\n\n'
        f'data: {{{HEAD},"choices":[{{"index":0,"delta":{{"content":"Hel"}},"logprobs":null,'
        '"finish_reason":null}],"usage":null}\n\n'
        f'data: {{{HEAD},"choices":[{{"index":0,"delta":{{"content":"lo"}},"logprobs":null,'
        '"finish_reason":null}],"usage":null}\n\n'
        f'data: {{{HEAD},"choices":[{{"index":0,"delta":{{}},"logprobs":null,'
        '"finish_reason":"stop"}],"usage":null}\n\n'
        f'data: {{{HEAD},"choices":[],"usage":{{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14,'
        '"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}\n\n'
        "data: [DONE]\n\n"
    )
    frames = written(stream, Accepted("m", 12, False), TextDelta("Hel"), TextDelta("lo"), finished())
    assert frames.decode() == expected
    validated(frames)


def test_without_include_usage_there_is_no_usage_at_all() -> None:
    frames = written(openai_stream(chat_call(stream=True)), TextDelta("Hi"), finished())
    assert b"usage" not in frames
    assert len(validated(frames)) == 3


def test_each_delta_is_written_at_once() -> None:
    stream = openai_stream(chat_call(stream=True))
    assert stream.encode(Accepted("m", 12, False)) == b""
    assert stream.encode(Progress("prefill", 1, 2)) == b""
    assert stream.encode(TextDelta("Hel")).count(b"data: ") == 2
    assert stream.encode(TextDelta("lo")).count(b"data: ") == 1
    assert stream.encode(TextDelta("")) == b""
    assert stream.encode(ReasoningDelta("")) == b""


def test_an_empty_answer_still_has_a_role_and_an_end() -> None:
    frames = validated(written(openai_stream(chat_call(stream=True)), finished("length")))
    assert deltas_of(frames) == [{"role": "assistant", "content": ""}, {}]
    assert frames[-1]["choices"][0]["finish_reason"] == "length"


def test_reasoning_has_both_of_its_names_and_a_delta_of_its_own() -> None:
    frames = written(openai_stream(chat_call(stream=True)), ReasoningDelta("hm"), TextDelta("47"), finished())
    assert deltas_of(validated(frames)) == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm", "reasoning": "hm"},
        {"content": "47"},
        {},
    ]


def test_inline_reasoning_has_each_tag_in_a_chunk_of_its_own() -> None:
    stream = openai_stream(chat_call(stream=True, settings=INLINE))
    frames = written(stream, ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("47"), finished())
    assert deltas_of(validated(frames)) == [
        {"role": "assistant", "content": ""},
        {"content": "<think>"},
        {"content": "\nh"},
        {"content": "m"},
        {"content": "</think>"},
        {"content": "\n\n47"},
        {},
    ]


def test_inline_reasoning_cut_by_the_limit_gets_no_closing_tag() -> None:
    stream = openai_stream(chat_call(stream=True, settings=INLINE))
    frames = written(stream, ReasoningDelta("hm"), finished("length"))
    assert b"</think>" not in frames
    validated(frames)


def test_a_tool_call_is_whole_in_one_delta() -> None:
    stream = openai_stream(chat_call(stream=True))
    calls = (ToolCallDelta(CALL), ToolCallDelta(ToolCall("call_2", "g", "")))
    frames = validated(written(stream, *calls, finished("tool_calls")))
    function = {"name": "f", "arguments": '{"a":1}'}
    assert deltas_of(frames) == [
        {"role": "assistant", "content": ""},
        {"tool_calls": [{"index": 0, "id": "call_ab12cd34", "type": "function", "function": function}]},
        {
            "tool_calls": [
                {"index": 1, "id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}}
            ]
        },
        {},
    ]
    assert frames[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_the_parts_of_a_call_are_streamed_and_its_name_is_in_the_first_one() -> None:
    stream = openai_stream(chat_call(stream=True))
    parts = (ToolCallPart("", 0, "call_1", "f"), ToolCallPart('{"a"'), ToolCallPart(""), ToolCallPart(":1}"))
    second = ToolCallPart("{}", 0, "call_2", "g")
    frames = validated(written(stream, *parts, second, finished("tool_calls")))
    chunks = [call for delta in deltas_of(frames) for call in delta.get("tool_calls", [])]
    assert chunks == [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ":1}"}},
        {"index": 1, "id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_without_parallel_calls_no_part_of_a_second_call_is_sent() -> None:
    call = chat_call(stream=True, parallel_tool_calls=False)
    parts = (ToolCallPart("{}", 0, "call_1", "f"), ToolCallPart("", 0, "call_2", "g"), ToolCallPart("{}"))
    frames = written(openai_stream(call), *parts, finished("tool_calls"))
    assert frames.count(b'"tool_calls":[') == 1


def test_inline_reasoning_is_closed_before_a_tool_call() -> None:
    stream = openai_stream(chat_call(stream=True, settings=INLINE))
    frames = validated(written(stream, ReasoningDelta("hm"), ToolCallDelta(CALL), finished("tool_calls")))
    kinds = [delta.get("content") or list(delta) for delta in deltas_of(frames)]
    assert kinds == [["role", "content"], "<think>", "\nhm", "</think>", ["tool_calls"], []]


def test_without_parallel_calls_only_the_first_one_is_sent() -> None:
    call = chat_call(stream=True, parallel_tool_calls=False)
    second = ToolCall("call_2", "g", "{}")
    frames = written(openai_stream(call), ToolCallDelta(CALL), ToolCallDelta(second), finished("tool_calls"))
    assert frames.count(b'"tool_calls":[') == 1
    whole = message_of(openai_answer.completion(call, completion(Choice(tool_calls=[CALL, second])), "x", 1))
    assert len(whole["tool_calls"]) == 1


def test_choices_differ_by_index_and_each_has_its_role() -> None:
    stream = openai_stream(chat_call(stream=True, n=2))
    frames = validated(written(stream, TextDelta("b", 1), TextDelta("a", 0), finished("stop", "length")))
    choices = [choice for frame in frames for choice in frame["choices"]]
    assert [(choice["index"], choice["delta"], choice["finish_reason"]) for choice in choices] == [
        (1, {"role": "assistant", "content": ""}, None),
        (1, {"content": "b"}, None),
        (0, {"role": "assistant", "content": ""}, None),
        (0, {"content": "a"}, None),
        (0, {}, "stop"),
        (1, {}, "length"),
    ]


def test_log_probabilities_are_beside_the_text_and_have_exact_bytes() -> None:
    call = chat_call(stream=True, logprobs=True, top_logprobs=2, settings=INLINE)
    stream = openai_stream(call)
    frames = validated(written(stream, ReasoningDelta("hm", logprobs=(LOGPROB,)), TextDelta("Hel"), finished()))
    entries = [frame["choices"][0]["logprobs"] for frame in frames]
    assert entries[:2] == [None, None]
    assert entries[2] == {
        "content": [
            {
                "token": "Hel",
                "logprob": -0.01,
                "bytes": [72, 101, 108],
                "top_logprobs": [
                    {"token": "Hel", "logprob": -0.01, "bytes": [72, 101, 108]},
                    {"token": "\ufffd", "logprob": -9999.0, "bytes": [226, 130]},
                ],
            }
        ],
        "refusal": None,
    }
    assert entries[3:] == [None, None, None]


def test_log_probabilities_are_not_sent_unless_requested() -> None:
    frames = written(openai_stream(chat_call(stream=True)), TextDelta("Hel", logprobs=(LOGPROB,)), finished())
    assert b'"token"' not in frames


def test_every_frame_is_ascii_and_one_line() -> None:
    text = "\u2028\u0085é你😀\n"
    frames = written(openai_stream(chat_call(stream=True, model="modèle")), TextDelta(text), finished())
    assert frames.isascii()
    chunk = validated(frames)[1]
    assert deltas_of([chunk]) == [{"content": text}]
    assert chunk["model"] == "modèle"


def test_a_keepalive_is_a_comment() -> None:
    assert openai_stream(chat_call(stream=True)).keepalive(256, 1024) == b": keepalive 256/1024\n\n"


def test_golden_bytes_of_an_error_in_the_middle_of_a_stream() -> None:
    frames = openai_stream(chat_call(stream=True)).error(EngineFailed("boom"))
    assert frames == (
        b'data: {"error":{"message":"boom","type":"server_error","param":null,"code":null}}\n\ndata: [DONE]\n\n'
    )


def test_golden_bytes_of_a_whole_answer() -> None:
    body = openai_answer.completion(chat_call(), completion(Choice(text="Hello!")), "chatcmpl-7f0c", 1763800000)
    assert body.decode() == (
        '{"id":"chatcmpl-7f0c","object":"chat.completion","created":1763800000,"model":"m",'
        '"system_fingerprint":"fp_pico_jupyter","choices":[{"index":0,'
        '"message":{"role":"assistant","content":"Hello!","refusal":null},"logprobs":null,"finish_reason":"stop"}],'
        '"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14,'
        '"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}'
    )
    ChatCompletion.model_validate(json.loads(body))


def test_a_whole_answer_with_reasoning_apart() -> None:
    message = message_of(openai_answer.completion(chat_call(), completion(Choice(text="47", reasoning="hm")), "x", 1))
    assert message == {
        "role": "assistant",
        "content": "47",
        "refusal": None,
        "reasoning_content": "hm",
        "reasoning": "hm",
    }


def test_a_whole_answer_with_a_tool_call_has_null_content() -> None:
    answer = completion(Choice(tool_calls=[CALL], finish_reason="tool_calls"))
    body = openai_answer.completion(chat_call(), answer, "x", 1)
    assert json.loads(body)["choices"][0]["finish_reason"] == "tool_calls"
    assert message_of(body) == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [{"id": "call_ab12cd34", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
    }


def test_text_before_a_tool_call_is_kept() -> None:
    answer = completion(Choice(text="Let me look.", tool_calls=[CALL]))
    assert message_of(openai_answer.completion(chat_call(), answer, "x", 1))["content"] == "Let me look."


def test_an_empty_answer_is_an_empty_string() -> None:
    assert message_of(openai_answer.completion(chat_call(), completion(Choice()), "x", 1))["content"] == ""


def test_a_whole_answer_has_log_probabilities_if_requested() -> None:
    answer = completion(Choice(text="Hel", logprobs=[TokenLogprob("Hel", -0.5, b"Hel")]))
    call = chat_call(logprobs=True)
    [choice] = json.loads(openai_answer.completion(call, answer, "x", 1))["choices"]
    entry = {"token": "Hel", "logprob": -0.5, "bytes": [72, 101, 108], "top_logprobs": []}
    assert choice["logprobs"] == {"content": [entry], "refusal": None}


@pytest.mark.parametrize("settings", [INLINE, DialectSettings()])
@pytest.mark.parametrize(
    "deltas",
    [
        [TextDelta("a"), TextDelta("b")],
        [ReasoningDelta("x\n"), ReasoningDelta("y"), TextDelta("a"), TextDelta("\nb")],
        [ReasoningDelta("x"), TextDelta("\n\na")],
        [ReasoningDelta("x")],
        [ReasoningDelta("x"), ToolCallDelta(CALL)],
        [],
    ],
)
@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_a_stream_adds_up_to_the_whole_answer(
    settings: DialectSettings, deltas: list[Delta], reason: FinishReason
) -> None:
    async def generate() -> AsyncGenerator[Delta, None]:
        for delta in [*deltas, end]:
            yield delta

    end = Finished((reason,), USAGE, TIMINGS)
    streamed = chat_call(stream=True, settings=settings)
    frames = deltas_of(validated(written(openai_stream(streamed), *deltas, end)))
    whole = message_of(openai_answer.completion(streamed, await collect(generate()), "x", 1))
    for key in ("content", "reasoning"):
        added = "".join(delta.get(key) or "" for delta in frames)
        assert added == (whole.get(key) or "")


def test_the_list_of_models() -> None:
    body = json.loads(openai_answer.models_list([MODEL]))
    assert body == {
        "object": "list",
        "data": [
            {
                "id": "Qwen3-0.6B-4bit",
                "object": "model",
                "created": 1740592086,
                "owned_by": "pico_jupyter",
                "max_model_len": 40960,
                "source": "hub",
            }
        ],
    }
    assert json.loads(openai_answer.model_object(MODEL)) == body["data"][0]
    Model.model_validate(body["data"][0])


def test_an_empty_list_of_models_is_an_array() -> None:
    assert openai_answer.models_list([]) == b'{"object":"list","data":[]}'


@pytest.mark.parametrize(
    ("error", "kind", "param", "code"),
    [
        (InvalidRequest("x", param="n", code="unsupported_value"), "invalid_request_error", "n", "unsupported_value"),
        (InvalidRequest("x"), "invalid_request_error", None, None),
        (TemplateFailed("x"), "invalid_request_error", None, None),
        (ContextLengthExceeded("x"), "invalid_request_error", "messages", "context_length_exceeded"),
        (Unauthenticated("x"), "authentication_error", None, "invalid_api_key"),
        (Forbidden("x"), "permission_error", None, None),
        (NotFound("x"), "not_found_error", None, None),
        (MethodNotAllowed("x"), "invalid_request_error", None, "method_not_allowed"),
        (RequestTooLarge("x"), "invalid_request_error", None, "request_too_large"),
        (NotSupported("x"), "invalid_request_error", None, None),
        (QueueFull("x"), "server_error", None, "server_busy"),
        (EngineUnavailable("x"), "server_error", None, "engine_unavailable"),
        (ModelLoadFailed("x"), "server_error", None, None),
        (EngineFailed("x"), "server_error", None, None),
        (PicoError("x"), "server_error", None, None),
    ],
)
def test_errors_have_all_four_keys(error: PicoError, kind: str, param: str | None, code: str | None) -> None:
    body = json.loads(openai_answer.error_body(error))
    assert body == {"error": {"message": "x", "type": kind, "param": param, "code": code}}


def test_a_missing_model_is_named() -> None:
    body = json.loads(openai_answer.error_body(ModelNotFound("whatever", model="x")))
    assert body["error"] == {
        "message": "The model 'x' does not exist",
        "type": "not_found_error",
        "param": "model",
        "code": "model_not_found",
    }


def test_media_for_a_text_model_is_explained() -> None:
    error = MediaUnsupported("no media", param="messages[0].content[1]", model="m")
    body = json.loads(openai_answer.error_body(error))["error"]
    assert body["message"].startswith("The request includes images, video or audio, but 'm' cannot be loaded")
    assert body["param"] == "messages[0].content[1]"


def test_a_stream_has_a_readable_repr() -> None:
    assert repr(openai_stream(chat_call(stream=True, n=2))) == "<OpenAIChatStream chatcmpl-x [2 choices]>"


REASONED = TokenLogprob("hm", -0.5, b"hm")
SAID = TokenLogprob("47", -0.25, b"47")


@pytest.mark.parametrize(
    ("members", "content", "reasoning"),
    [
        ({}, ["47"], ["hm"]),
        ({"separate_reasoning": False}, ["hm", "47"], None),
        ({"include_reasoning": False}, ["47"], None),
    ],
)
def test_the_logprobs_of_reasoning_are_where_the_reasoning_is(
    members: dict[str, object], content: list[str], reasoning: list[str] | None
) -> None:
    deltas = (ReasoningDelta("hm", logprobs=(REASONED,)), TextDelta("47", logprobs=(SAID,)), finished())
    frames = validated(written(openai_stream(chat_call(stream=True, logprobs=True, **members)), *deltas))
    choice = Choice(text="47", reasoning="hm", logprobs=[SAID], reasoning_logprobs=[REASONED])
    call = chat_call(logprobs=True, **members)
    whole = json.loads(openai_answer.completion(call, completion(choice), "chatcmpl-x", 1))
    streamed = [frame["choices"][0]["logprobs"] or {} for frame in frames if frame["choices"]]
    for entries in ([whole["choices"][0]["logprobs"]], streamed):
        tokens = {
            name: [entry["token"] for found in entries for entry in found.get(name) or []]
            for name in ("content", "reasoning_content")
        }
        assert tokens == {"content": content, "reasoning_content": reasoning or []}


def test_hidden_reasoning_is_in_no_field() -> None:
    call = chat_call(stream=True, include_reasoning=False)
    text = written(openai_stream(call), ReasoningDelta("hm"), TextDelta("47"), finished())
    whole = openai_answer.completion(
        chat_call(reasoning={"exclude": True}), completion(Choice(text="47", reasoning="hm")), "chatcmpl-x", 1
    )
    assert b"hm" not in text + whole
    assert b"47" in text
    assert b"47" in whole
