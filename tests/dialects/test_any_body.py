"""The dialects raise only their own errors for any body, and the link transports what they accept."""

import json
from collections.abc import Callable
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pico_jupyter.dialects import ollama_answer, openai_answer, responses_answer
from pico_jupyter.dialects.anthropic_errors import AnthropicErrors
from pico_jupyter.dialects.anthropic_request import parse_anthropic_messages
from pico_jupyter.dialects.completions_request import parse_openai_completion
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.ollama_embeddings import parse_ollama_embed, parse_ollama_embeddings
from pico_jupyter.dialects.ollama_request import (
    parse_ollama_chat,
    parse_ollama_generate,
    parse_ollama_pull,
    parse_ollama_show,
)
from pico_jupyter.dialects.openai_embeddings import parse_openai_embeddings, parse_rerank
from pico_jupyter.dialects.openai_request import parse_openai_chat
from pico_jupyter.dialects.responses_request import parse_responses
from pico_jupyter.dialects.token_requests import parse_detokenize, parse_render, parse_tokenize
from pico_jupyter.errors import InvalidRequest, ModelNotFound, PicoError
from pico_jupyter.types import GenerationRequest
from tests.dialects.responses_samples import MemoryHistory
from tests.property_examples import examples

Parse: TypeAlias = Callable[[bytes], object]

SETTINGS = DialectSettings(default_model="m")
PARSERS: dict[str, Parse] = {
    "openai": lambda body: parse_openai_chat(body, request_id="r", path="v1/chat", accept="", settings=SETTINGS),
    "responses": lambda body: parse_responses(body, request_id="r", settings=SETTINGS, history=MemoryHistory()),
    "ollama chat": lambda body: parse_ollama_chat(body, request_id="r", settings=SETTINGS),
    "ollama generate": lambda body: parse_ollama_generate(body, request_id="r", settings=SETTINGS),
    "model name": parse_ollama_show,
    "pull": parse_ollama_pull,
    "embeddings": parse_openai_embeddings,
    "rerank": parse_rerank,
    "embed": parse_ollama_embed,
    "old embeddings": parse_ollama_embeddings,
    "anthropic": lambda body: parse_anthropic_messages(body, request_id="r", settings=SETTINGS),
    "completions": lambda body: parse_openai_completion(body, request_id="r", settings=SETTINGS),
    "tokenize": lambda body: parse_tokenize(body, request_id="r", settings=SETTINGS),
    "render": lambda body: parse_render(body, request_id="r", settings=SETTINGS),
    "detokenize": lambda body: parse_detokenize(body, settings=SETTINGS),
}
NESTED = [
    "role",
    "content",
    "type",
    "text",
    "image_url",
    "url",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "effort",
    "enabled",
    "enable_thinking",
    "num_ctx",
    "num_predict",
    "repeat_last_n",
    "temperature",
    "stop",
    "json_schema",
    "allowed_tools",
    "mode",
    "output",
    "call_id",
    "namespace",
    "format",
    "summary",
    "source",
    "thinking",
    "input",
    "tool_use_id",
    "is_error",
    "budget_tokens",
    "input_schema",
]
WORDS = ["user", "assistant", "system", "tool", "text", "function", "auto", "json_schema", "5m", "high", "image_url"]
WORDS += ["message", "reasoning", "function_call", "function_call_output", "namespace", "custom", "input_image"]
WORDS += ["tool_use", "tool_result", "thinking", "image", "document", "base64", "url", "any", "enabled"]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(WORDS)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NESTED), inner, max_size=5),
    max_leaves=12,
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
parts = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": text}), max_size=3)
blocks = st.lists(
    parts.filter(bool).map(lambda texts: texts[0])
    | st.fixed_dictionaries({"type": st.just("tool_result"), "tool_use_id": text, "content": text | parts})
    | st.fixed_dictionaries({"type": st.just("tool_use"), "id": text, "name": st.just("f"), "input": st.just({})}),
    max_size=3,
)
calls = st.lists(st.fixed_dictionaries({"id": text, "function": st.just({"name": "f", "arguments": "{}"})}), max_size=2)
turns = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", "developer"]), "content": text | parts | blocks},
    optional={"tool_calls": calls, "reasoning_content": text, "tool_call_id": text, "images": st.just([])},
)
outputs = st.fixed_dictionaries({"call_id": st.just("c"), "output": text | parts})
items = turns | st.sampled_from(["function_call_output", "custom_tool_call_output"]).flatmap(
    lambda kind: outputs.map(lambda output: {"type": kind, **output})
)
members: dict[str, st.SearchStrategy[object]] = {
    "model": text,
    "messages": st.lists(turns, min_size=1, max_size=4),
    "input": text | st.lists(items, max_size=4),
    "prompt": text | st.lists(text, max_size=3) | st.lists(st.integers(0, 9), max_size=3),
    "suffix": text,
    "tokens": st.lists(st.integers(0, 9), max_size=3),
    "stop_sequences": st.lists(text, max_size=3),
    "output_config": st.sampled_from([{"effort": "high"}, {"format": {"type": "json_schema", "schema": {}}}]),
    "system": text,
    "context": st.lists(st.integers(0, 2**40), max_size=3),
    "stream": st.booleans(),
    "max_tokens": st.integers(1, 2**40) | st.just(-1),
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(-1, 2**40),
    "query": text,
    "documents": st.lists(text | st.fixed_dictionaries({"text": text}), max_size=3),
    "dimensions": st.integers(-1, 2**40),
    "encoding_format": st.sampled_from(["float", "base64"]),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "stop": text | st.lists(text, max_size=3),
    "n": st.integers(1, 8),
    "logprobs": st.just(True),
    "logit_bias": st.dictionaries(st.integers(0, 2**40).map(str), st.floats(-100, 100), max_size=2),
    "reasoning": st.sampled_from(["on", "off", {"effort": "low"}, {"enabled": True}]),
    "chat_template_kwargs": st.dictionaries(text, values, max_size=2),
    "think": st.sampled_from([True, False, "high"]),
    "options": st.fixed_dictionaries(
        {},
        optional={
            "num_ctx": st.integers(-2, 2**40),
            "num_predict": st.integers(-(2**40), 2**40),
            "repeat_last_n": st.integers(-5, 2**40),
            "temperature": st.floats(-1e30, 1e30),
            "top_p": st.floats(-1e30, 1e30),
        },
    ),
    "keep_alive": st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["5m", "-1", "0"]),
    "tools": st.just([{"type": "function", "function": {"name": "f"}}]) | st.just([{"name": "f", "input_schema": {}}]),
    "response_format": st.sampled_from([{"type": "json_object"}, {"type": "text"}]),
    "structured_outputs": st.sampled_from([{"regex": "a+"}, {"json": {}}, {}]),
    "tool_choice": st.sampled_from(["none", "auto", "required", {"type": "any"}, {"type": "tool", "name": "f"}]),
}
required = {"messages": members["messages"]}
optional = {key: member for key, member in members.items() if key != "messages"}
good_bodies = st.fixed_dictionaries(required, optional=optional)
spoilt_bodies = st.tuples(
    good_bodies, st.dictionaries(st.sampled_from(sorted(members)), values, min_size=1, max_size=2)
)
bodies = good_bodies | spoilt_bodies.map(lambda both: {**both[0], **both[1]})


def parsed(parse: Parse, body: bytes) -> object | None:
    """The parsed body; None if it is refused with an error of ours."""
    try:
        return parse(body)
    except (InvalidRequest, ModelNotFound) as error:
        refusal = error
    assert refusal.message
    for dialect in (openai_answer, ollama_answer, responses_answer, AnthropicErrors("req_x")):
        assert json.loads(dialect.error_body(refusal))["error"]
    return None


@settings(max_examples=examples(300), deadline=None)
@given(body=st.binary(max_size=64))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    for parse in PARSERS.values():
        parsed(parse, body)


@settings(max_examples=examples(200), deadline=None)
@given(body=values)
def test_any_json_is_parsed_or_refused(body: object) -> None:
    for parse in PARSERS.values():
        parsed(parse, json.dumps(body).encode())


@settings(max_examples=examples(300), deadline=None)
@given(body=bodies)
def test_any_body_with_our_fields_is_parsed_or_refused_and_survives_the_link(body: dict[str, object]) -> None:
    for parse in PARSERS.values():
        request = getattr(parsed(parse, json.dumps(body).encode()), "request", None)
        if isinstance(request, GenerationRequest):
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(request), type=GenerationRequest) == request


@pytest.mark.parametrize("name", ["openai", "anthropic", "tokenize"])
def test_the_generated_bodies_are_both_refused_and_accepted(name: str) -> None:
    refusals: list[bool] = []

    @settings(max_examples=examples(100), deadline=None, database=None)
    @given(body=bodies)
    def parse(body: dict[str, object]) -> None:
        refusals.append(parsed(PARSERS[name], json.dumps(body).encode()) is None)

    parse()
    assert any(refusals)
    assert not all(refusals)


@pytest.mark.parametrize("name", PARSERS)
def test_a_body_of_nothing_but_brackets_is_refused(name: str) -> None:
    for body in (b"[" * 200_000, b'{"messages":' * 200_000, b'{"options":{"stop":' + b"[" * 200_000):
        with pytest.raises(PicoError):
            PARSERS[name](body)
