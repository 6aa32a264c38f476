"""Names of models on the hub, and the requests of pico/downloads and pico/hub."""

from __future__ import annotations

import pytest

from pico_jupyter.dialects.download_requests import parse_change, parse_download, parse_search
from pico_jupyter.download_reports import read_repo_name
from pico_jupyter.errors import InvalidRequest


@pytest.mark.parametrize(
    ("name", "repo"),
    [
        ("Qwen3-4B-4bit", "mlx-community/Qwen3-4B-4bit"),
        ("org/name", "org/name"),
        (" hf.co/org/name:latest ", "org/name"),
        ("huggingface.co/org/n_a.me-1", "org/n_a.me-1"),
    ],
)
def test_a_name_is_completed(name: str, repo: str) -> None:
    assert read_repo_name(name) == repo


@pytest.mark.parametrize("name", ["", "a/b/c", "../x", "a..b/c", "a--b/c", "qwen3:4b", "/x", "x/", "a b", "é/x", "."])
def test_a_name_that_is_no_repository_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(InvalidRequest, match="mlx-community/Qwen3-4B-4bit") as refusal:
        read_repo_name(name)
    assert refusal.value.param == "model"


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/3", "0" * 40])
def test_a_revision_is_a_branch_a_tag_or_a_commit(revision: str) -> None:
    assert parse_download(f'{{"model": "org/name", "revision": "{revision}"}}'.encode()).revision == revision


@pytest.mark.parametrize("revision", ["../x", "/x", "a..b", "a b"])
def test_a_revision_with_a_path_is_refused(revision: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid revision"):
        parse_download(f'{{"model": "org/name", "revision": "{revision}"}}'.encode())


def test_a_download_is_paused_or_resumed_and_nothing_else() -> None:
    assert parse_change(b'{"state": "paused"}').state == "paused"
    with pytest.raises(InvalidRequest) as refusal:
        parse_change(b'{"state": "complete"}')
    assert refusal.value.param == "state"


def test_a_search_has_a_default_limit() -> None:
    assert parse_search("qwen", "").limit == 20
    assert parse_search("qwen", "7").limit == 7
