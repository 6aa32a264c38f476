"""Log-probabilities of prompts through a real engine. One forward pass of mlx-lm's model is the oracle."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.utils import load_model

from pico_jupyter.client import Completion, collect
from pico_jupyter.engine.local_client import LocalEngineClient
from pico_jupyter.engine.text.tokenizer import Tokenizer, load_tokenizer
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import CompletionPrompt, EngineOptions, GenerationRequest, ModelInfo, SamplingParams
from tests.engine.conftest import StartEngine

TEXTS = ("12 + 35 = 47", "What is a list? " * 40 + "\N{EURO SIGN}")
GREEDY = SamplingParams(temperature=0.0)


@pytest.fixture(scope="module")
def tokenizer(builtin: ModelInfo) -> Tokenizer:
    return load_tokenizer(Path(builtin.path))


@pytest.fixture(scope="module")
def model(builtin: ModelInfo) -> Any:
    loaded, _ = load_model(Path(builtin.path))
    loaded.set_dtype(mx.float32)
    return loaded


async def score(client: LocalEngineClient, prompt: CompletionPrompt, **fields: Any) -> Completion:
    request = GenerationRequest(
        id=f"{prompt} {fields}", model=fields.pop("model", "pico-tiny"), prompt=prompt, sampling=GREEDY, **fields
    )
    return await collect(client.generate(request), request.n)


def expected(model: Any, tokens: list[int]) -> list[float]:
    logits = model(mx.array([tokens]))[0]
    logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    return [0.0, *[logprobs[position, token].item() for position, token in enumerate(tokens[1:])]]


async def test_prompts_of_different_lengths_have_the_log_probabilities_of_one_pass(
    start: StartEngine, tokenizer: Tokenizer, model: Any
) -> None:
    client = start(options=EngineOptions(prefill_step_size=64))
    prompts = [CompletionPrompt(text, logprobs=True) for text in TEXTS]
    answers = await asyncio.gather(*(score(client, prompt, top_logprobs=2, max_tokens=1) for prompt in prompts))
    for text, answer in zip(TEXTS, answers, strict=True):
        tokens = [*tokenizer.first_tokens, *tokenizer.encode(text, add_special_tokens=False)]
        entries = answer.choices[0].logprobs
        assert [entry.token_bytes for entry in entries[:-1]] == [tokenizer.token_bytes(token) for token in tokens]
        assert [entry.logprob for entry in entries[:-1]] == pytest.approx(expected(model, tokens), abs=1e-4)
        assert entries[-1].logprob == pytest.approx(max(top.logprob for top in entries[-1].top))
        assert [len(entry.top) for entry in entries] == [0, *[2] * len(tokens)]


async def test_without_an_answer_the_prompt_is_scored_all_the_same(
    start: StartEngine, tokenizer: Tokenizer, model: Any
) -> None:
    tokens = tokenizer.encode(TEXTS[0], add_special_tokens=False)
    prompt = CompletionPrompt(tokens=tuple(tokens), logprobs=True)
    answer = await score(start(), prompt, top_logprobs=0, max_tokens=0, n=2)
    for choice in answer.choices:
        assert (choice.text, choice.finish_reason) == ("", "length")
        assert [entry.logprob for entry in choice.logprobs] == pytest.approx(expected(model, tokens), abs=1e-4)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(tokens), 0)


async def test_any_first_token_of_an_answer_has_an_entry(start: StartEngine, tokenizer: Tokenizer) -> None:
    client = start()
    ends = [*tokenizer.eos_token_ids, *tokenizer.special_token_ids]
    partial = next(token for token in range(tokenizer.vocab_size) if tokenizer.token_bytes(token) == b"\x80")
    for token in (*ends, partial):
        request = GenerationRequest(
            id=str(token),
            model="pico-tiny",
            prompt=CompletionPrompt("1 +", logprobs=True),
            sampling=SamplingParams(temperature=0.0, logit_bias={token: 100.0}),
            max_tokens=1,
            top_logprobs=0,
        )
        answer = await collect(client.generate(request))
        assert len(answer.choices[0].logprobs) == answer.usage.prompt_tokens + 1
        assert answer.choices[0].logprobs[-1].token_bytes == tokenizer.token_bytes(token)


async def test_a_vision_model_scores_a_text(start: StartEngine) -> None:
    answer = await score(
        start(), CompletionPrompt("one two", logprobs=True), model="pico-tiny-vl", top_logprobs=1, max_tokens=0
    )
    entries = answer.choices[0].logprobs
    assert len(entries) == answer.usage.prompt_tokens > 1
    assert all(entry.logprob <= entry.top[0].logprob for entry in entries[1:])


async def test_an_empty_prompt_is_refused(start: StartEngine) -> None:
    with pytest.raises(InvalidRequest, match="the prompt is empty"):
        await score(start(), CompletionPrompt("", special_tokens=False, logprobs=True), top_logprobs=0, max_tokens=0)
