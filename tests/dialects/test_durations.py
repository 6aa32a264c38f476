import math

import pytest

from pico_jupyter.dialects.durations import parse_go_duration, read_keep_alive
from pico_jupyter.errors import InvalidRequest
from tests.dialects.samples import fields


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0),
        (300, 300),
        (1.5, 1.5),
        (-1, math.inf),
        (-0.5, math.inf),
        (10**400, math.inf),
        ("5m", 300),
        ("1h30m", 5400),
        ("300ms", 0.3),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("+2s", 2),
        ("-1m", math.inf),
        ("0", 0),
        ("0s", 0),
        ("-1", math.inf),
        ("60", 60),
        ("7us", 7e-6),
        ("7µs", 7e-6),
        ("7μs", 7e-6),
        ("7ns", 7e-9),
        ("24h", 86400),
    ],
)
def test_keep_alive_is_seconds_in_many_spellings(value: object, seconds: float | None) -> None:
    assert read_keep_alive(fields(keep_alive=value).keep_alive) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "5 m", "m", "5d", "1h30", "five", "--1", "٣s", "1m" * 40, "1" * 100_000])
def test_other_texts_are_not_durations(value: str) -> None:
    with pytest.raises(InvalidRequest, match="time: invalid duration") as caught:
        read_keep_alive(fields(keep_alive=value).keep_alive)
    assert caught.value.param == "keep_alive"


@pytest.mark.parametrize(("value", "kind"), [(True, "bool"), ([], "[]interface {}"), ({}, "map[string]interface {}")])
def test_other_types_are_refused_in_ollamas_words(value: object, kind: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_keep_alive(fields(keep_alive=value).keep_alive)
    assert caught.value.message == f"Unsupported type: '{kind}'"


def test_a_negative_duration_stays_negative_for_other_readers() -> None:
    assert parse_go_duration("-1m30s") == -90
