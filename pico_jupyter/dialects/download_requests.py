"""Declares and decodes the requests of pico/downloads and pico/hub."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pico_jupyter.dialects.request_bodies import decode_fields, decode_object
from pico_jupyter.dialects.request_errors import invalid
from pico_jupyter.dialects.request_fields import RequestStruct, about
from pico_jupyter.download_reports import REPO_PART, read_repo_name

MAX_FOUND = 100
DEFAULT_FOUND = 20
MAX_WORDS = 200

RepoPart: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"pattern": f"^{REPO_PART}$", "examples": ["mlx-community"]})
]
RepoName: TypeAlias = Annotated[
    str,
    Meta(
        description="`owner/name`. Without an owner: of mlx-community.",
        extra_json_schema={"pattern": f"^({REPO_PART}/)?{REPO_PART}$", "examples": ["mlx-community/Qwen3-0.6B-4bit"]},
    ),
]
Revision: TypeAlias = Annotated[
    str,
    Meta(
        description="A branch, a tag or a commit (default: main).",
        extra_json_schema={"pattern": "^[A-Za-z0-9][A-Za-z0-9_./-]{0,199}$", "examples": ["main"]},
    ),
]
Words: TypeAlias = Annotated[str, Meta(max_length=MAX_WORDS, description="The words to search for.")]
FoundLimit: TypeAlias = Annotated[
    int, Meta(ge=1, le=MAX_FOUND, description=f"The maximum number of models (default: {DEFAULT_FOUND}).")
]


class DownloadRequest(RequestStruct, frozen=True):
    """Names a model to download."""

    model: RepoName
    revision: Revision | None = None


class DownloadChange(RequestStruct, frozen=True):
    """Pauses or resumes a download."""

    state: Annotated[Literal["paused", "running"], about("The new state.")]


class HubSearch(msgspec.Struct, frozen=True):
    """A search of the hub."""

    words: str
    limit: int


def parse_download(body: bytes) -> DownloadRequest:
    """Parse the body of a POST to pico/downloads. Raises InvalidRequest."""
    fields = decode_fields(decode_object(body), DownloadRequest)
    model, revision = read_repo_name(fields.model), fields.revision or None
    if revision and (not re.fullmatch(r"[A-Za-z0-9][\w./-]{0,199}", revision, re.ASCII) or ".." in revision):
        raise invalid("revision", "invalid revision")
    return DownloadRequest(model=model, revision=revision)


def parse_change(body: bytes) -> DownloadChange:
    """Parse the body of a PATCH of pico/downloads/{owner}/{name}. Raises InvalidRequest."""
    return decode_fields(decode_object(body), DownloadChange)


def parse_search(words: str, limit: str) -> HubSearch:
    """Parse the query of pico/hub/search. Raises InvalidRequest."""
    if len(words) > MAX_WORDS:
        raise invalid("q", f"'q' must have at most {MAX_WORDS} characters")
    if not re.fullmatch("[0-9]{1,6}", limit or str(DEFAULT_FOUND)) or not 1 <= int(limit or 1) <= MAX_FOUND:
        raise invalid("limit", f"'limit' must be from 1 to {MAX_FOUND}")
    return HubSearch(words, int(limit or DEFAULT_FOUND))
