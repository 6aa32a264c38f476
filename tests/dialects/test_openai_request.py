from typing import Any

import pytest

from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.openai_request import parse_openai_chat
from pico_jupyter.errors import InvalidRequest, MediaUnsupported
from pico_jupyter.types import ChatPrompt, GenerationRequest, Message, SamplingParams, TextPart, ToolChoice
from tests.dialects.samples import USER, chat_call, encoded

OPTIONAL_FIELDS = [
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "stop",
    "n",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "reasoning",
    "chat_template_kwargs",
    "think",
    "user",
    "options",
    "keep_alive",
    "continue_final_message",
    "include_reasoning",
    "separate_reasoning",
    "modalities",
    "draft_model",
    "num_draft_tokens",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "max_thinking_tokens",
    "thinking",
]


def refused(**members: object) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        chat_call(**members)
    return caught.value


def test_a_request_with_every_field_is_translated() -> None:
    call = chat_call(
        model="Qwen3-0.6B-4bit:latest",
        messages=[USER],
        stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False},
        max_completion_tokens=50,
        temperature=0.5,
        seed=3,
        stop="END",
        n=2,
        logprobs=True,
        top_logprobs=3,
        reasoning_effort="high",
        chat_template_kwargs={"documents": []},
        parallel_tool_calls=False,
        keep_alive="10m",
        options={"num_ctx": 100, "warmth": 1},
        draft_model="Qwen3-0.6B-4bit",
        num_draft_tokens=3,
        user={"any": "thing"},
        format=5,
        metadata=[],
        nonsense=1,
    )
    assert call.request == GenerationRequest(
        id="r1",
        model="Qwen3-0.6B-4bit:latest",
        prompt=ChatPrompt((Message("user", (TextPart("hi"),)),), template_kwargs='{"documents":[]}'),
        sampling=SamplingParams(temperature=0.5, seed=3),
        fallback_sampling=call.request.fallback_sampling,
        reasoning=True,
        reasoning_effort="high",
        max_tokens=50,
        max_context=100,
        stop=("END",),
        n=2,
        top_logprobs=3,
        keep_alive=600.0,
        draft_model="Qwen3-0.6B-4bit",
        draft_tokens=3,
        tool_choice=ToolChoice(parallel=False),
    )
    assert (call.model, call.stream, call.include_usage) == ("Qwen3-0.6B-4bit:latest", True, True)
    assert call.unknown_options == ("warmth",)


def test_a_minimal_request_leaves_every_parameter_unset() -> None:
    request = chat_call().request
    assert request.sampling == SamplingParams()
    assert (request.reasoning, request.reasoning_effort, request.max_tokens, request.top_logprobs) == (None,) * 4
    assert (request.n, request.stop, request.keep_alive, request.max_context) == (1, (), None, None)
    assert (request.draft_model, request.draft_tokens) == (None, None)


def test_null_is_the_same_as_omitted_for_every_field() -> None:
    assert chat_call(**dict.fromkeys(OPTIONAL_FIELDS)) == chat_call()


def test_a_missing_model_is_the_default_one() -> None:
    settings = DialectSettings(default_model="pico-tiny")
    assert chat_call(model=None, settings=settings).model == "pico-tiny"
    assert chat_call(model="", settings=settings).request.model == "pico-tiny"


@pytest.mark.parametrize("model", [None, ""])
def test_without_a_default_a_model_is_required(model: str | None) -> None:
    error = refused(model=model)
    assert (error.message, error.param) == ("model is required", "model")


@pytest.mark.parametrize("messages", [None, []])
def test_messages_are_required(messages: object) -> None:
    error = refused(messages=messages)
    assert (error.message, error.param) == ("[] is too short - 'messages'", "messages")


SSE, JSON = True, False


@pytest.mark.parametrize(
    ("path", "accept", "openai_default", "pico_default"),
    [
        ("v1/chat/completions", "", JSON, SSE),
        ("v1/chat/completions", "*/*", JSON, SSE),
        ("v1/chat/completions", "application/json", JSON, JSON),
        ("v1/chat/completions", "text/event-stream", SSE, SSE),
        ("v1/chat/completions", "application/json, Text/Event-Stream;q=0.9", SSE, SSE),
        ("v1/chat", "", SSE, SSE),
        ("v1/chat", "*/*", SSE, SSE),
        ("v1/chat", "text/html", SSE, SSE),
        ("v1/chat", "application/json", JSON, JSON),
        ("v1/chat", "application/json; charset=utf-8", JSON, JSON),
        ("v1/chat", "application/json, */*", SSE, SSE),
        ("v1/chat", "application/json,text/event-stream", SSE, SSE),
    ],
)
def test_an_omitted_stream_depends_on_path_and_accept(
    path: Any, accept: str, openai_default: bool, pico_default: bool
) -> None:
    assert chat_call(path=path, accept=accept).stream is openai_default
    pico = DialectSettings(openai_stream_default="pico")
    assert chat_call(path=path, accept=accept, settings=pico, stream=None).stream is pico_default


@pytest.mark.parametrize("path", ["v1/chat/completions", "v1/chat"])
@pytest.mark.parametrize("accept", ["", "application/json", "text/event-stream"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_given_stream_decides_alone(path: Any, accept: str, stream: bool) -> None:
    assert chat_call(path=path, accept=accept, stream=stream).stream is stream


@pytest.mark.parametrize("options", [{}, {"include_usage": True}])
def test_stream_options_need_a_stream(options: dict[str, object]) -> None:
    error = refused(stream=False, stream_options=options)
    assert error.message == "Stream options can only be defined when stream=True"
    assert error.param == "stream_options"


def test_usage_is_not_included_unless_requested() -> None:
    assert not chat_call(stream=True).include_usage
    assert not chat_call(stream=True, stream_options={}).include_usage
    assert not chat_call(stream=True, stream_options={"include_usage": False}).include_usage


@pytest.mark.parametrize(("n", "code"), [(9, "unsupported_value"), (0, "invalid_value"), (-1, "invalid_value")])
def test_n_is_between_1_and_8(n: int, code: str) -> None:
    assert chat_call(n=8).request.n == 8
    error = refused(n=n)
    assert (error.param, error.code) == ("n", code)


@pytest.mark.parametrize(
    ("members", "top_logprobs"),
    [
        ({}, None),
        ({"logprobs": False}, None),
        ({"logprobs": False, "top_logprobs": 0}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 20}, 20),
    ],
)
def test_log_probabilities(members: dict[str, object], top_logprobs: int | None) -> None:
    assert chat_call(**members).request.top_logprobs == top_logprobs


@pytest.mark.parametrize(
    "members",
    [
        {"top_logprobs": 1},
        {"logprobs": False, "top_logprobs": 1},
        {"logprobs": True, "top_logprobs": 21},
        {"logprobs": True, "top_logprobs": -1},
        {"logprobs": True, "top_logprobs": True},
    ],
)
def test_other_top_logprobs_are_refused(members: dict[str, object]) -> None:
    assert refused(**members).param == "top_logprobs"


@pytest.mark.parametrize(
    ("response_format", "param"),
    [
        ({"type": "json_schema"}, "response_format"),
        ({"type": "json_schema", "json_schema": "x"}, "response_format"),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, "response_format"),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": None}}, "response_format"),
        ({"type": "json_schema", "json_schema": {"schema": []}}, "response_format.json_schema.schema"),
        ({"type": "yaml"}, "response_format.type"),
        ({}, "response_format.type"),
        ("json", "response_format"),
    ],
)
def test_malformed_response_formats_are_refused(response_format: object, param: str) -> None:
    assert refused(response_format=response_format).param == param


def test_audio_as_an_output_is_refused() -> None:
    assert isinstance(refused(modalities=["text", "audio"]), MediaUnsupported)
    assert chat_call(modalities=["text"]) == chat_call()


def test_the_last_message_of_the_assistant_can_be_continued() -> None:
    messages = [USER, {"role": "assistant", "content": "Hel"}]
    prompt = chat_call(messages=messages, continue_final_message=True).request.prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.continue_final_message
    assert refused(continue_final_message=True).param == "continue_final_message"


def test_messages_that_do_not_fit_are_not_dropped() -> None:
    prompt = chat_call().request.prompt
    assert isinstance(prompt, ChatPrompt)
    assert not prompt.truncate


@pytest.mark.parametrize("value", ["true", 1, [], {}])
@pytest.mark.parametrize(
    "field", ["stream", "logprobs", "parallel_tool_calls", "continue_final_message", "include_reasoning"]
)
def test_switches_are_booleans(field: str, value: object) -> None:
    error = refused(**{field: value})
    assert error.param == field
    assert "expected a boolean" in error.message


def test_the_body_may_hold_any_text() -> None:
    text = "\u2028é你😀\x00"
    prompt = chat_call(messages=[{"role": "user", "content": text}]).request.prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[0].content == (TextPart(text),)


def test_a_bare_body_is_read_as_utf_8() -> None:
    body = '{"model":"m","messages":[{"role":"user","content":"你"}]}'.encode()
    call = parse_openai_chat(body, request_id="r", path="v1/chat", accept="", settings=DialectSettings())
    assert call.request.id == "r"
    assert encoded(a=1) == b'{"a": 1}'
