"""SmolLM2-135M-Instruct behind a real server gives the greedy answers that mlx-lm gives.

The first run downloads the weights (93 MB) into a cache folder. See scripts/real_models.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from scripts.real_models import NoPackageIndex, create_model
from tests.e2e.running import RunningServer, running_server
from tests.real import mlx_lm_answers

pytestmark = pytest.mark.timeout(900)
NAME = "SmolLM2-135M-Instruct"
Messages: TypeAlias = "list[dict[str, str]]"
Ask: TypeAlias = "Callable[[RunningServer, Messages], str]"


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


QUESTION = [user("What is the capital of France?")]
ANSWER = "The capital of France is Paris."
SYSTEM = [{"role": "system", "content": "Answer in one word."}, user("Which animal says meow?")]
TURNS = [user("My name is Ada."), assistant("Hello Ada! How can I help you?"), user("What is my name?")]
CODE = [user("Write a Python function that adds two numbers.")]
SECOND_TURN = [*QUESTION, assistant(ANSWER), user("And of Italy?")]
BOXES = " ".join(f"Box {number} contains {number * 37 % 101} apples." for number in range(1, 196))
LONG = [user(f"{BOXES}\n\nHow many apples does box 3 contain?")]
MAX_TOKENS = 12


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return create_model(NAME)
    except NoPackageIndex as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = f"--PicoJupyter.model_dirs={model.parent}"
    with running_server(tmp_path_factory.mktemp("server"), folder) as running:
        yield running


@pytest.fixture(scope="module")
def expected(model: Path, server: RunningServer) -> Callable[[Messages], str]:
    """The greedy answers of mlx-lm, from a process with the environment of the server's model kernel."""
    with server.http() as http:
        http.post("api/generate", json={"model": NAME}, timeout=300).raise_for_status()
    [kernel] = server.model_kernels()
    conversations = [QUESTION, SYSTEM, TURNS, CODE, SECOND_TURN, LONG]
    done = subprocess.run(
        [sys.executable, "-m", mlx_lm_answers.__name__, str(model), str(MAX_TOKENS)],
        env=kernel.environ(),
        input=json.dumps(conversations),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout)
    return lambda messages: str(answers[conversations.index(messages)])


def openai_answer(server: RunningServer, messages: Messages) -> dict[str, Any]:
    """The whole answer in OpenAI's dialect."""
    body = {"model": NAME, "messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS}
    with server.http() as http:
        answer: dict[str, Any] = http.post("v1/chat/completions", json=body, timeout=300).raise_for_status().json()
    return answer


def openai_text(server: RunningServer, messages: Messages) -> str:
    return str(openai_answer(server, messages)["choices"][0]["message"]["content"])


def ollama_text(server: RunningServer, messages: Messages) -> str:
    """The joined pieces of a streamed answer in Ollama's dialect."""
    body = {"model": NAME, "messages": messages, "options": {"temperature": 0, "num_predict": MAX_TOKENS}}
    with server.http() as http, http.stream("POST", "api/chat", json=body, timeout=300) as response:
        response.raise_for_status()
        return "".join(json.loads(line)["message"]["content"] for line in response.iter_lines())


@pytest.mark.parametrize(
    ("messages", "ask"),
    [(QUESTION, openai_text), (SYSTEM, ollama_text), (TURNS, openai_text), (CODE, ollama_text)],
    ids=["question", "system", "turns", "code"],
)
def test_an_answer_equals_that_of_mlx_lm(
    server: RunningServer, expected: Callable[[Messages], str], messages: Messages, ask: Ask
) -> None:
    assert ask(server, messages) == expected(messages)


def test_answers_that_are_generated_together_equal_those_of_mlx_lm(
    server: RunningServer, expected: Callable[[Messages], str]
) -> None:
    asked = [(ask, messages) for messages in (QUESTION, SYSTEM, TURNS, CODE) for ask in (openai_text, ollama_text)]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda pair: pair[0](server, pair[1]), asked))
    assert answers == [expected(messages) for _, messages in asked]


def test_the_answer_to_a_prompt_of_2000_tokens_equals_that_of_mlx_lm(
    server: RunningServer, expected: Callable[[Messages], str]
) -> None:
    answer = openai_answer(server, LONG)
    assert answer["usage"]["prompt_tokens"] > 2000
    assert answer["choices"][0]["message"]["content"] == expected(LONG)


def test_a_second_turn_from_the_prefix_cache_equals_that_of_mlx_lm(
    server: RunningServer, expected: Callable[[Messages], str]
) -> None:
    assert openai_text(server, QUESTION) == ANSWER
    second = openai_answer(server, SECOND_TURN)
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] > 30
    assert second["choices"][0]["message"]["content"] == expected(SECOND_TURN)
