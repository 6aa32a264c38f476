from __future__ import annotations

import json
from typing import Any

import pytest

from pico_jupyter.dialects import token_requests
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.questions import DetokenizePrompt, PromptTokens, TokenizePrompt
from pico_jupyter.types import CompletionPrompt
from tests.dialects.samples import USER, chat_call, encoded

FOUND = PromptTokens("hello", (1, 2), 2048, ("he", "llo"))
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}


def tokenize(**members: Any) -> TokenizePrompt:
    body = encoded(**{"model": "m", **members})
    return token_requests.parse_tokenize(body, request_id="r1", settings=DialectSettings())


def test_a_text_is_tokenized_as_a_completion_reads_it() -> None:
    assert tokenize(prompt="hi").request.prompt == CompletionPrompt("hi")
    without = tokenize(prompt="hi", add_special_tokens=False).request.prompt
    assert without == CompletionPrompt("hi", special_tokens=False)


def test_a_chat_is_tokenized_as_it_is_answered() -> None:
    assert tokenize(messages=[USER], think=False).request.prompt == chat_call(think=False).request.prompt


@pytest.mark.parametrize("members", [{"prompt": "hi"}, {"messages": [USER]}])
def test_the_texts_of_the_tokens_are_returned_on_demand(members: dict[str, Any]) -> None:
    question = tokenize(**members, return_token_strs=True)
    assert question.token_texts
    answer = json.loads(token_requests.tokenize_answer(FOUND, question))
    assert answer == {"count": 2, "max_model_len": 2048, "tokens": [1, 2], "token_strs": ["he", "llo"]}
    assert json.loads(token_requests.tokenize_answer(FOUND, tokenize(**members)))["token_strs"] is None


def test_a_chat_is_rendered() -> None:
    body = encoded(model="m", messages=[USER])
    question = token_requests.parse_render(body, request_id="r1", settings=DialectSettings())
    assert question.request.prompt == chat_call().request.prompt
    assert json.loads(token_requests.render_answer(FOUND)) == {
        "prompt": "hello",
        "token_ids": [1, 2],
        "count": 2,
        "max_model_len": 2048,
    }


def test_tokens_become_text() -> None:
    settings = DialectSettings(default_model="m")
    question = token_requests.parse_detokenize(encoded(tokens=[1, 2]), settings=settings)
    assert question == DetokenizePrompt("m", (1, 2))
    assert token_requests.detokenize_answer("hé") == b'{"prompt":"h\\u00e9"}'


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({}, "prompt"),
        ({"prompt": [1]}, "prompt"),
        ({"messages": []}, "messages"),
        ({"model": "", "prompt": "hi"}, "model"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0]"),
    ],
)
def test_a_wrong_field_of_tokenize_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tokenize(**members)
    assert caught.value.param == param


@pytest.mark.parametrize("tokens", [None, "x", [-1], [2**31], [1.5]])
def test_wrong_tokens_are_refused(tokens: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        token_requests.parse_detokenize(encoded(model="m", tokens=tokens), settings=DialectSettings())
    assert caught.value.param is not None
    assert caught.value.param.startswith("tokens")
