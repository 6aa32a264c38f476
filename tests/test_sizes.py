"""Byte counts and parameter counts, as people read them."""

from __future__ import annotations

import pytest

from pico_jupyter.sizes import about, at_least, at_most, parameter_count


@pytest.mark.parametrize(
    ("size", "least", "roughly", "most"),
    [
        (0, "0 B", "0 B", "0 B"),
        (999, "999 B", "999 B", "999 B"),
        (2_540, "2.6 kB", "2.5 kB", "2.5 kB"),
        (9_990_000, "10 MB", "10 MB", "9.9 MB"),
        (45_600_000_000, "46 GB", "46 GB", "45 GB"),
        (7e15, "7000 TB", "7000 TB", "7000 TB"),
    ],
)
def test_requirements_are_rounded_up_and_limits_down(size: float, least: str, roughly: str, most: str) -> None:
    assert (at_least(size), about(size), at_most(size)) == (least, roughly, most)


@pytest.mark.parametrize(("count", "text"), [(499, "499"), (1_380_000, "1.4M"), (596_000_000, "0.6B"), (8e9, "8.0B")])
def test_parameters_are_written_as_model_names_write_them(count: int, text: str) -> None:
    assert parameter_count(count) == text
