"""Every line of a reasoning trace is true, and its last line ends with the answer."""

import re
from random import Random

import pytest

from training.arithmetic import TRACES, add_trace, compare_trace, multiply_trace, result, subtract_trace
from training.words import number

RNG = Random(7)
PAIRS = [(number(RNG), number(RNG)) for _ in range(200)]
STEP = re.compile(r"^\w+ (\d+)([-+×])(\d+)(?:([-+])(\d))?=(\d+) → (\d+)$")


def steps(trace: str) -> list[re.Match[str]]:
    return [match for line in trace.splitlines() if (match := STEP.match(line))]


def is_true(step: re.Match[str]) -> bool:
    x, operator, y, carry_sign, carry, total, _ = step.groups()
    value = result(int(x), operator, int(y))
    if carry:
        value = result(value, carry_sign, int(carry))
    return value == int(total)


@pytest.mark.parametrize("operator", ["+", "-"])
def test_every_step_of_a_trace_is_true(operator: str) -> None:
    for a, b in PAIRS:
        assert all(is_true(step) for step in steps(TRACES[operator](a, b)))


def test_a_sum_ends_its_trace() -> None:
    for a, b in PAIRS:
        assert int(steps(add_trace(a, b))[-1].group(7)) == a + b


def test_a_difference_ends_its_trace_without_its_sign() -> None:
    for a, b in PAIRS:
        assert int(steps(subtract_trace(a, b))[-1].group(7)) == abs(a - b)


@pytest.mark.parametrize(("a", "b"), [(7, 8), (348, 7), (6, 45), (12, 13), (99, 99), (10, 20)])
def test_a_product_ends_its_trace(a: int, b: int) -> None:
    trace = multiply_trace(a, b)

    assert all(is_true(step) for step in steps(trace))
    assert int(steps(trace)[-1].group(7)) == a * b


def test_a_carry_is_written_out() -> None:
    assert add_trace(348, 277) == (
        "348 + 277\n348: U8 T4 H3\n277: U7 T7 H2\nU 8+7=15 → 5\nT 4+7+1=12 → 25\nH 3+2+1=6 → 625"
    )


def test_a_negative_difference_is_computed_with_its_operands_exchanged() -> None:
    assert "negative, so 9 - 5" in subtract_trace(5, 9)


def test_a_comparison_stops_at_the_first_difference() -> None:
    assert compare_trace(348, 327).splitlines()[-2:] == ["H 3=3", "T 4>2"]
