"""The training data is reproducible and true, and has no held-out pair."""

import json
import re
from functools import partial
from random import Random

import pytest

from training import sums, texts, tools
from training.conversation import Sample
from training.generator import SKILLS, draw_sample
from training.held_out import is_held_out

PLAIN = re.compile(r"^(\d+) ([-+×]) (\d+) = (-?\d+)$")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    rng = Random(3)
    return [draw_sample(rng) for _ in range(4000)]


def test_the_same_seed_gives_the_same_samples(samples: list[Sample]) -> None:
    rng = Random(3)

    assert [draw_sample(rng) for _ in range(50)] == samples[:50]


def test_every_skill_is_generated(samples: list[Sample]) -> None:
    drawn = {sample.skill for sample in samples}

    assert {make(Random(1)).skill for make in SKILLS} <= drawn
    assert {"memory", "tool call", "tool result", "two skills"} <= drawn


def test_answers_to_sums_are_true(samples: list[Sample]) -> None:
    answers = [match for sample in samples if (match := PLAIN.match(sample.answer)) and not sample.tools]

    assert len(answers) > 500
    for match in answers:
        a, operator, b, value = match.groups()
        assert sums.result(int(a), operator, int(b)) == int(value)


def test_no_sum_is_trained_on_a_held_out_pair(samples: list[Sample]) -> None:
    drawn = [sample.answer for sample in samples if sample.skill in ("add", "subtract", "multiply")]
    asked = [match for answer in drawn if (match := PLAIN.match(answer))]

    assert len(asked) > 500
    assert not [m.group() for m in asked if is_held_out(m.group(2), int(m.group(1)), int(m.group(3)))]


@pytest.mark.parametrize("make", [sums.add, sums.subtract, sums.multiply, sums.compare, sums.word_problem])
def test_the_evaluation_uses_only_held_out_pairs(make: partial[sums.Turn]) -> None:
    rng = Random(5)

    for _ in range(50):
        header = make(rng, held_out=True).reasoning.splitlines()[0]
        a, operator, b = header.split()
        assert is_held_out(operator, int(a), int(b)) or max(int(a), int(b)) < 10


def test_a_tenth_of_the_pairs_is_held_out() -> None:
    held = sum(is_held_out("-", a, b) for a in range(100) for b in range(10, 100))

    assert 0.08 < held / 9000 < 0.12


def test_a_sum_and_its_commuted_form_are_held_out_together() -> None:
    assert all(is_held_out("+", a, 57) == is_held_out("+", 57, a) for a in range(200))


def test_json_answers_are_json() -> None:
    rng = Random(2)

    for _ in range(100):
        assert isinstance(json.loads(texts.write_json(rng).answer), dict)


def test_a_tool_call_has_an_available_tool_and_its_arguments() -> None:
    rng = Random(2)
    for _ in range(200):
        sample = tools.call(rng)
        call = json.loads(sample.answer.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>"))
        given = {tool["function"]["name"]: tool["function"]["parameters"]["required"] for tool in sample.tools}

        assert list(call["arguments"]) == given[call["name"]]


def test_a_fact_is_asked_for_after_it_was_mentioned(samples: list[Sample]) -> None:
    for sample in samples:
        if sample.skill == "memory":
            value = sample.reasoning.rstrip(".").split()[-1]
            assert any(value in message["content"] for message in sample.messages[:-1])
            assert value in sample.answer
