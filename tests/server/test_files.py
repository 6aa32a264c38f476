"""The path in a jupyter: URL."""

from __future__ import annotations

import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.server.files import read_path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("jupyter:cat.png", "cat.png"),
        ("JUPYTER:/a/cat.png", "a/cat.png"),
        ("jupyter:///a/cat.png", "a/cat.png"),
        ("jupyter:a%20b/%C3%A9.png", "a b/é.png"),
        ("jupyter:a b/é.png", "a b/é.png"),
        ("jupyter:100%25.png", "100%.png"),
        ("jupyter:a%252e.png", "a%2e.png"),
        ("jupyter:a?b#c:d.png", "a?b#c:d.png"),
        ("jupyter:a..b/..c/d...png", "a..b/..c/d...png"),
    ],
)
def test_a_path_is_decoded_once_and_is_relative_to_the_servers_root(url: str, path: str) -> None:
    assert read_path(url) == path


@pytest.mark.parametrize(
    "url",
    [
        "jupyter:",
        "jupyter:/",
        "jupyter:..",
        "jupyter:../x.png",
        "jupyter:a/../../x.png",
        "jupyter:a/..",
        "jupyter:%2e%2e/x.png",
        "jupyter:a%2f..%2fx.png",
        "jupyter:..\\x.png",
        "jupyter:a%00.png",
    ],
)
def test_a_path_outside_the_root_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^the path is outside the server's root$"):
        read_path(url)


def test_a_path_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^the path is not valid UTF-8$"):
        read_path("jupyter:%ff.png")
