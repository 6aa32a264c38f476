"""Deletes models that were downloaded."""

from __future__ import annotations

from pathlib import Path

from pico_jupyter.downloads.cache_layout import CachedRepo, repo_of_snapshot
from pico_jupyter.errors import Forbidden
from pico_jupyter.types import ModelInfo


def find_deletable(info: ModelInfo) -> CachedRepo:
    """Return the repository of a model in the Hugging Face cache. Raises Forbidden for all other models."""
    if info.source == "builtin":
        raise Forbidden(f"{info.name} is part of pico_jupyter and cannot be deleted")
    if info.source == "folder":
        raise Forbidden(f"{info.name} was not downloaded by pico_jupyter. To delete it, remove the folder {info.path}")
    return repo_of_snapshot(Path(info.path))
