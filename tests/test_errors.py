"""The tree of errors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pico_jupyter import errors
from pico_jupyter.errors import InvalidRequest, ModelNotFound, PicoError


def _classes(base: type[PicoError] = PicoError) -> Iterator[type[PicoError]]:
    yield base
    for child in base.__subclasses__():
        yield from _classes(child)


def test_the_drawn_tree_shows_every_error_with_its_status() -> None:
    drawn = {name: int(status) for name, status in re.findall(r"([A-Z]\w+) +(\d{3})\b", errors.__doc__ or "")}
    assert drawn == {kind.__name__: kind.http_status for kind in _classes()}


def test_the_repr_of_an_error_names_the_field() -> None:
    assert repr(InvalidRequest("must be a number", param="top_p")) == "<InvalidRequest at top_p: must be a number>"


def test_a_given_code_replaces_the_class_code() -> None:
    assert ModelNotFound("no").code == "model_not_found"
    assert InvalidRequest("no", code="invalid_value").code == "invalid_value"
