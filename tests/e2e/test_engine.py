"""The engine behind a real server: cached prefixes, and a crash of the model kernel with many clients."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.running import RunningServer

QUESTION = {"role": "user", "content": "What is 12 + 35?"}
CLIENTS = 6
NEVER_ENDS = {"2": -100, "0": -100}


def cached_tokens(answer: dict[str, Any]) -> int:
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_the_second_turn_of_a_chat_reuses_the_cached_first_turn(server: RunningServer) -> None:
    with server.http() as http:

        def ask(messages: list[dict[str, str]]) -> dict[str, Any]:
            body = {"model": "pico-tiny", "messages": messages, "temperature": 0, "reasoning": "none"}
            answer: dict[str, Any] = http.post("v1/chat/completions", json=body).json()
            return answer

        first = ask([QUESTION])
        text = first["choices"][0]["message"]["content"]
        second = ask([QUESTION, {"role": "assistant", "content": text}, {"role": "user", "content": "What is 5 + 6?"}])
    assert "47" in text
    assert "11" in second["choices"][0]["message"]["content"]
    assert cached_tokens(second) >= 10


def test_reasoning_that_the_template_strips_does_not_lose_the_cache(server: RunningServer) -> None:
    system = {"role": "system", "content": "You are a calculator of few words, in a test of two turns."}
    with server.http() as http:

        def ask(messages: list[dict[str, str]]) -> dict[str, Any]:
            body = {"model": "pico-tiny", "messages": messages, "temperature": 0, "reasoning": "on"}
            answer: dict[str, Any] = http.post("v1/chat/completions", json=body).json()
            return answer

        first = ask([system, QUESTION])
        text = first["choices"][0]["message"]["content"]
        answer = {"role": "assistant", "content": text}
        second = ask([system, QUESTION, answer, {"role": "user", "content": "What is 5 + 6?"}])
    assert first["choices"][0]["message"]["reasoning"]
    assert cached_tokens(second) >= first["usage"]["prompt_tokens"] - 8


def outcome(body: str) -> str:
    """ "error" or the finish reason of a whole answer, streamed or not."""
    frames = [line.removeprefix("data: ") for line in body.splitlines() if line]
    if body.startswith("data: "):
        assert frames.pop() == "[DONE]"
    last = json.loads(frames[-1])
    return "error" if "error" in last else str(last["choices"][0]["finish_reason"])


@pytest.mark.parametrize("deltas", [1, 17, 60])
def test_a_model_kernel_killed_at_any_step_is_not_noticed_by_clients(own_server: RunningServer, deltas: int) -> None:
    """Half of the clients stream."""
    body = {"model": "pico-tiny", "messages": [QUESTION], "max_tokens": 400, "temperature": 2, "logit_bias": NEVER_ENDS}
    seen = threading.Semaphore(0)

    def chat(number: int) -> str:
        with (
            own_server.http() as http,
            http.stream(
                "POST", "v1/chat/completions", json={**body, "stream": number % 2 == 0, "seed": number}
            ) as response,
        ):
            text = ""
            for line in response.iter_lines():
                seen.release()
                text += line + "\n"
        return text

    with own_server.http() as http:
        http.post("api/generate", json={"model": "pico-tiny"}).raise_for_status()
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [pool.submit(chat, number) for number in range(CLIENTS)]
        for _ in range(deltas):
            assert seen.acquire(timeout=60)
        [kernel] = own_server.model_kernels()
        kernel.kill()
        ends = [answer.result(timeout=60) for answer in answers]
    assert {outcome(end) for end in ends} == {"length"}
