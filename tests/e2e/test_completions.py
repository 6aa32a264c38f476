"""v1/completions by the openai SDK, and the endpoints about tokens, against a real Jupyter server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.e2e.running import RunningServer

PROMPT = "<|im_start|>user\nWhat is 12 + 35?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
ASK: dict[str, Any] = {"model": "pico-tiny", "temperature": 0, "max_tokens": 30}


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "v1", api_key=server.token, max_retries=0) as client:
        yield client


def test_a_prompt_is_continued_without_a_template(client: openai.OpenAI) -> None:
    completion = client.completions.create(prompt=PROMPT, **ASK)
    assert "47" in completion.choices[0].text
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def test_a_stream_holds_the_same_text(client: openai.OpenAI) -> None:
    whole = client.completions.create(prompt=PROMPT, **ASK).choices[0].text
    chunks = list(client.completions.create(prompt=PROMPT, stream=True, stream_options={"include_usage": True}, **ASK))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage.completion_tokens > 0


def test_tokens_of_a_prompt_are_continued_like_its_text(client: openai.OpenAI, server: RunningServer) -> None:
    with server.http() as http:
        found = http.post("v1/tokenize", json={"model": "pico-tiny", "prompt": PROMPT}).json()
        assert found["count"] == len(found["tokens"])
        text = http.post("v1/detokenize", json={"model": "pico-tiny", "tokens": found["tokens"]}).json()["prompt"]
    assert text == PROMPT
    by_text = client.completions.create(prompt=PROMPT, **ASK)
    by_tokens = client.completions.create(prompt=[found["tokens"]], **ASK)
    assert by_tokens.choices[0].text == by_text.choices[0].text
    assert by_tokens.usage.prompt_tokens == found["count"]


def test_several_prompts_have_several_answers_each(client: openai.OpenAI) -> None:
    other = PROMPT.replace("12 + 35", "20 + 30")
    completion = client.completions.create(prompt=[PROMPT, other], n=2, echo=True, **ASK)
    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    assert [choice.text.startswith(PROMPT) for choice in completion.choices] == [True, True, False, False]
    assert ["47" in choice.text[len(PROMPT) :] for choice in completion.choices] == [True, True, False, False]
    assert all("50" in choice.text for choice in completion.choices[2:])


def test_log_probabilities_have_an_item_for_each_token(client: openai.OpenAI) -> None:
    completion = client.completions.create(prompt=PROMPT, logprobs=2, **ASK)
    logprobs = completion.choices[0].logprobs
    assert "".join(logprobs.tokens).startswith(completion.choices[0].text)
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset)
    assert all(len(top) >= 2 for top in logprobs.top_logprobs)


def test_echo_and_logprobs_score_prompts_of_different_lengths(client: openai.OpenAI) -> None:
    prompts = ["12 + 35 = 47", PROMPT]
    asked: dict[str, Any] = {"prompt": prompts, "echo": True, "logprobs": 1, **ASK}
    scored = client.completions.create(**{**asked, "max_tokens": 0})
    answered = client.completions.create(**{**asked, "max_tokens": 1})
    assert [choice.text for choice in scored.choices] == prompts
    assert [choice.finish_reason for choice in scored.choices] == ["length", "length"]
    assert scored.usage.completion_tokens == 0
    for prompt, choice, longer in zip(prompts, scored.choices, answered.choices, strict=True):
        logprobs, others = choice.logprobs, longer.logprobs
        assert "".join(logprobs.tokens) == prompt
        assert logprobs.token_logprobs[0] is logprobs.top_logprobs[0] is None
        assert all(map(str.startswith, [prompt[offset:] for offset in logprobs.text_offset], logprobs.tokens))
        assert logprobs.token_logprobs[1:] == pytest.approx(others.token_logprobs[1:-1], abs=1e-4)
        assert all(len(top) in (1, 2) for top in others.top_logprobs[1:])
        assert others.text_offset[-1] == len(prompt)


def test_a_stream_begins_with_the_scored_prompt(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"prompt": PROMPT, "echo": True, "logprobs": 1, **ASK}
    whole = client.completions.create(**asked).choices[0]
    choices = [chunk.choices[0] for chunk in client.completions.create(stream=True, **asked)]
    assert "".join(choice.text for choice in choices) == whole.text
    parts = [choice.logprobs for choice in choices if choice.logprobs]
    assert [token for part in parts for token in part.tokens] == whole.logprobs.tokens
    assert [offset for part in parts for offset in part.text_offset] == whole.logprobs.text_offset


def test_reasoning_is_plain_text(client: openai.OpenAI) -> None:
    begun = PROMPT.partition("<think>")[0]
    text = client.completions.create(prompt=begun, **{**ASK, "max_tokens": 100}).choices[0].text
    assert "<think>" in text
    assert "</think>" in text


def test_a_suffix_is_refused_for_a_model_that_cannot_insert(client: openai.OpenAI, server: RunningServer) -> None:
    with pytest.raises(openai.BadRequestError, match="pico-tiny does not support insert"):
        client.completions.create(prompt="def f(", suffix=")", model="pico-tiny")
    with server.http() as http:
        body = {"model": "pico-tiny", "prompt": "def f(", "suffix": ")"}
        response = http.post("api/generate", json=body)
    assert (response.status_code, response.json()) == (400, {"error": "pico-tiny does not support insert"})


def test_a_rendered_chat_is_what_the_model_reads(client: openai.OpenAI, server: RunningServer) -> None:
    chat: dict[str, Any] = {"model": "pico-tiny", "messages": [{"role": "user", "content": "What is 12 + 35?"}]}
    with server.http() as http:
        rendered = http.post("v1/chat/completions/render", json=chat).json()
        tokenized = http.post("v1/tokenize", json={**chat, "return_token_strs": True}).json()
    assert rendered["prompt"] == "".join(tokenized["token_strs"])
    assert rendered["token_ids"] == tokenized["tokens"]
    assert client.chat.completions.create(**chat).usage.prompt_tokens == rendered["count"]
