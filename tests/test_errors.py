"""The tree of failures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pico_jupyter import errors
from pico_jupyter.errors import InvalidRequest, ModelNotFound, PicoError


def _classes(base: type[PicoError] = PicoError) -> Iterator[type[PicoError]]:
    yield base
    for child in base.__subclasses__():
        yield from _classes(child)


@pytest.mark.parametrize("kind", _classes(), ids=lambda kind: kind.__name__)
def test_every_failure_stands_in_the_drawn_tree_with_its_status(kind: type[PicoError]) -> None:
    [line] = [line for line in (errors.__doc__ or "").splitlines() if kind.__name__ in line.replace("─", " ").split()]
    assert str(kind.http_status) in line or kind.http_status == InvalidRequest.http_status


def test_a_failure_reads_as_what_and_where() -> None:
    assert repr(InvalidRequest("must be a number", param="top_p")) == "<InvalidRequest at top_p: must be a number>"


def test_a_code_can_be_given_and_else_is_the_class_s() -> None:
    assert ModelNotFound("no").code == "model_not_found"
    assert InvalidRequest("no", code="invalid_value").code == "invalid_value"
