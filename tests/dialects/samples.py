"""Requests, answers and models for the tests of the dialects."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from pico_jupyter.client import Choice, Completion
from pico_jupyter.dialects.anthropic_request import AnthropicCall, parse_anthropic_messages
from pico_jupyter.dialects.completions_request import OpenAICompletionCall, parse_openai_completion
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.framing import FrameStream
from pico_jupyter.dialects.ollama_answer import OllamaAnswerStream
from pico_jupyter.dialects.ollama_request import (
    OllamaAnswerCall,
    OllamaLoadCall,
    parse_ollama_chat,
    parse_ollama_generate,
)
from pico_jupyter.dialects.openai_answer import OpenAIChatStream
from pico_jupyter.dialects.openai_request import ChatPath, OpenAIChatCall, parse_openai_chat
from pico_jupyter.dialects.request_bodies import decode_fields, decode_object
from pico_jupyter.dialects.request_fields import GenerationFields
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.template_switch import TemplateSwitch
from pico_jupyter.types import (
    Delta,
    Finished,
    FinishReason,
    ModelInfo,
    SamplingParams,
    Timings,
    TokenLogprob,
    TokenUsage,
    TopLogprob,
)

Json: TypeAlias = dict[str, Any]

USER = {"role": "user", "content": "hi"}
NOW = 1763823600.123456
USAGE = TokenUsage(prompt_tokens=12, completion_tokens=2)
TIMINGS = Timings(total_ns=174560334, load_ns=1013970, prefill_ns=13074791, decode_ns=52479709)
LOGPROB = TokenLogprob(
    "Hel", -0.01, b"Hel", (TopLogprob("Hel", -0.01, b"Hel"), TopLogprob("\ufffd", float("-inf"), b"\xe2\x82"))
)
MODEL = ModelInfo(
    name="Qwen3-0.6B-4bit",
    path="models/Qwen3-0.6B-4bit",
    repo="mlx-community/Qwen3-0.6B-4bit",
    source="hub",
    size=351234567,
    weights_size=316111110,
    float32_size=0,
    modified=1740592086.5,
    digest="0f" * 32,
    family="qwen3",
    parameter_count=596049920,
    quantization="4bit",
    context_length=40960,
    embedding_length=1024,
    block_count=28,
    capabilities=("completion", "tools", "thinking", "vision", "video"),
    reasoning_switch=TemplateSwitch(off={"enable_thinking": False}),
    reasoning_default=True,
    parameters=SamplingParams(temperature=0.6, top_k=20),
    stop=("<|im_end|>",),
    template="{{ messages }}",
    license="apache-2.0",
)


def encoded(**members: object) -> bytes:
    return json.dumps(members).encode()


def chat_call(
    *,
    path: ChatPath = "v1/chat/completions",
    accept: str = "",
    settings: DialectSettings | None = None,
    **members: object,
) -> OpenAIChatCall:
    body = encoded(**{"model": "m", "messages": [USER], **members})
    return parse_openai_chat(body, request_id="r1", path=path, accept=accept, settings=settings or DialectSettings())


def ollama_chat(*, settings: DialectSettings | None = None, **members: object) -> OllamaAnswerCall:
    call = parsed_ollama_chat(settings=settings, **{"messages": [USER], **members})
    assert isinstance(call, OllamaAnswerCall)
    return call


def parsed_ollama_chat(
    *, settings: DialectSettings | None = None, **members: object
) -> OllamaAnswerCall | OllamaLoadCall:
    body = encoded(**{"model": "m", **members})
    return parse_ollama_chat(body, request_id="r1", settings=settings or DialectSettings())


def ollama_generate(*, settings: DialectSettings | None = None, **members: object) -> OllamaAnswerCall:
    call = parsed_ollama_generate(settings=settings, **{"prompt": "hi", **members})
    assert isinstance(call, OllamaAnswerCall)
    return call


def parsed_ollama_generate(
    *, settings: DialectSettings | None = None, **members: object
) -> OllamaAnswerCall | OllamaLoadCall:
    body = encoded(**{"model": "m", **members})
    return parse_ollama_generate(body, request_id="r1", settings=settings or DialectSettings())


def completion_call(*, settings: DialectSettings | None = None, **members: object) -> OpenAICompletionCall:
    body = encoded(**{"model": "m", "prompt": "hi", **members})
    return parse_openai_completion(body, request_id="r1", settings=settings or DialectSettings())


def anthropic_call(*, settings: DialectSettings | None = None, **members: object) -> AnthropicCall:
    body = encoded(**{"model": "m", "messages": [USER], **members})
    return parse_anthropic_messages(body, request_id="r1", settings=settings or DialectSettings())


def fields(**members: object) -> GenerationFields:
    return decode_fields(decode_object(encoded(**members)), GenerationFields)


def finished(*reasons: FinishReason, context: tuple[int, ...] = ()) -> Finished:
    return Finished(reasons or ("stop",), USAGE, TIMINGS, context)


def completion(*choices: Choice, context: tuple[int, ...] = ()) -> Completion:
    return Completion(list(choices), USAGE, TIMINGS, context)


def openai_stream(call: OpenAIChatCall) -> OpenAIChatStream:
    return OpenAIChatStream(call, "chatcmpl-x", 1763800000)


def ollama_stream(call: OllamaAnswerCall) -> OllamaAnswerStream:
    return OllamaAnswerStream(call, lambda: NOW)


def written(stream: FrameStream, *deltas: Delta) -> bytes:
    return b"".join([stream.encode(delta) for delta in deltas])


def sse_objects(frames: bytes) -> list[Json]:
    """The objects of the events; every event is one data line and a blank line, and the last one is [DONE]."""
    events = frames.decode("ascii").split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: ") and "\n" not in event for event in events[:-1])
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


def ndjson_objects(lines: bytes) -> list[Json]:
    """The objects of the lines. No line is empty, and the last one ends with a line break."""
    rows = lines.decode("ascii").split("\n")
    assert rows[-1] == ""
    assert all(rows[:-1])
    return [json.loads(row) for row in rows[:-1]]


def complaint(error: InvalidRequest) -> tuple[str, str | None]:
    return error.message, error.param


def deltas_of(frames: Iterable[Json]) -> list[Json]:
    """The `delta` of every chunk that has choices."""
    return [choice["delta"] for frame in frames for choice in frame["choices"]]
