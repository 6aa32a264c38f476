"""The folder of a model in the Hugging Face cache, without a hub."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pico_jupyter.downloads.cache_layout import (
    CachedRepo,
    DownloadMarker,
    RepoFile,
    begun_downloads,
    hub_cache,
    repo_of_snapshot,
)
from pico_jupyter.errors import Conflict

CONTENTS = {"config.json": b"{}", "model.safetensors": b"weights"}
FILES = tuple(RepoFile(name, hashlib.sha256(content).hexdigest(), len(content)) for name, content in CONTENTS.items())
MARKER = DownloadMarker("org/name", "", "c1", FILES, "2026-01-01T00:00:00Z")


@pytest.fixture
def repo(tmp_path: Path) -> CachedRepo:
    """A download that has begun: config.json is complete, and three bytes of the weights are there."""
    repo = CachedRepo(tmp_path, "org/name")
    (repo.folder / "blobs").mkdir(parents=True)
    repo.blob(FILES[0].blob).write_bytes(CONTENTS["config.json"])
    repo.partial(FILES[1].blob).write_bytes(b"wei")
    repo.link("c1", FILES[0])
    repo.write_marker(MARKER)
    return repo


def install(repo: CachedRepo, commit: str = "c1") -> None:
    for file in FILES:
        repo.blob(file.blob).write_bytes(CONTENTS[file.path])
        repo.partial(file.blob).unlink(missing_ok=True)
        repo.link(commit, file)
    repo.install(commit)


def test_the_completed_bytes_are_counted_from_the_files(repo: CachedRepo) -> None:
    assert (repo.completed(MARKER), MARKER.total) == (5, 9)


def test_files_with_the_same_content_count_once() -> None:
    twice = DownloadMarker("org/name", "", "c1", (FILES[0], RepoFile("b.json", FILES[0].blob, 2)), "")
    assert twice.total == 2


def test_begun_downloads_are_found_until_they_are_complete(repo: CachedRepo) -> None:
    assert [marker.model for _, marker in begun_downloads(repo.cache)] == ["org/name"]
    install(repo)
    assert list(begun_downloads(repo.cache)) == []


def test_a_broken_marker_is_no_download(repo: CachedRepo) -> None:
    (repo.folder / ".pico-download.json").write_bytes(b'{"model": "org/na')
    assert list(begun_downloads(repo.cache)) == []
    assert repo.read_marker() is None


def test_a_snapshot_links_to_its_blobs(repo: CachedRepo) -> None:
    install(repo)
    assert {path.name: path.read_bytes() for path in repo.snapshot("c1").iterdir()} == CONTENTS
    assert repo.main.read_text() == "c1"


def test_deleting_a_model_frees_its_bytes_and_leaves_no_file(repo: CachedRepo) -> None:
    install(repo)
    assert repo.remove() == 9 + len("c1")
    assert not repo.folder.exists()


def test_cancelling_a_first_download_leaves_no_file(repo: CachedRepo) -> None:
    assert repo.cancel() >= 5
    assert not repo.folder.exists()


def test_cancelling_an_update_keeps_the_installed_version(repo: CachedRepo) -> None:
    install(repo)
    new = RepoFile("model.safetensors", "ab" * 32, 9)
    repo.partial(new.blob).write_bytes(b"new")
    repo.write_marker(DownloadMarker("org/name", "", "c2", (FILES[0], new), ""))
    repo.link("c2", FILES[0])
    repo.cancel()
    assert {path.name: path.read_bytes() for path in repo.snapshot("c1").iterdir()} == CONTENTS
    assert not repo.snapshot("c2").exists()
    assert not repo.partial(new.blob).exists()
    assert list(begun_downloads(repo.cache)) == []


def test_another_process_cannot_delete_a_model_that_is_being_downloaded(repo: CachedRepo) -> None:
    with repo.locked(), pytest.raises(Conflict, match="another process"):
        repo.remove()
    assert repo.folder.exists()


def test_a_lock_is_noticed_until_it_is_released(repo: CachedRepo) -> None:
    assert not repo.is_locked()
    with repo.locked():
        assert repo.is_locked()
    assert not repo.is_locked()


def test_the_repository_of_a_snapshot_is_known(repo: CachedRepo) -> None:
    assert repo_of_snapshot(repo.snapshot("c1")) == repo


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HF_HOME": "/x/home"},
        {"XDG_CACHE_HOME": "/x/cache"},
        {"HF_HUB_CACHE": "~/models", "HF_HOME": "/x/home"},
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(environ: dict[str, str]) -> None:
    program = "import huggingface_hub.constants as c; print(c.HF_HUB_CACHE)"
    others = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "XDG_"))}
    printed = subprocess.run(
        [sys.executable, "-c", program], env={**others, **environ}, check=True, capture_output=True, text=True
    )
    assert str(hub_cache(environ)) == printed.stdout.strip()
