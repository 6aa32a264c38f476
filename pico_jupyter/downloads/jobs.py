"""Defines the job that a manager sends to a child process, and the reports of the child. Each is a line of JSON."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from pico_jupyter.download_reports import HubModel
from pico_jupyter.errors import Conflict, Forbidden, HubUnavailable, InvalidRequest, NotFound, PicoError

FAILURES: dict[str, type[PicoError]] = {
    kind.__name__: kind for kind in (Conflict, Forbidden, HubUnavailable, InvalidRequest, NotFound, PicoError)
}


class FetchJob(msgspec.Struct, frozen=True, tag="fetch"):
    """Download a model to `cache`. `retry_seconds`: the first delay after a failure of the network."""

    model: str
    revision: str
    cache: str
    started: str
    retry_seconds: float = 1.0


class SearchJob(msgspec.Struct, frozen=True, tag="search"):
    """Find up to `limit` models in MLX format."""

    words: str
    limit: int


class DescribeJob(msgspec.Struct, frozen=True, tag="describe"):
    """Describe one model."""

    model: str


Job: TypeAlias = FetchJob | SearchJob | DescribeJob


class FetchProgress(msgspec.Struct, frozen=True, tag="progress"):
    """`completed` of `total` bytes are on this machine. `file` is being downloaded or verified."""

    completed: int
    total: int
    file: str


class FetchComplete(msgspec.Struct, frozen=True, tag="complete"):
    """All files are on this machine and verified. `total`: their bytes."""

    total: int


class JobFailed(msgspec.Struct, frozen=True, tag="failed"):
    """The job failed. `kind`: a key of FAILURES. `retry_after`: seconds; 0: unknown."""

    kind: str
    message: str
    retry_after: int = 0

    def error(self) -> PicoError:
        """Return the error that a client receives."""
        return FAILURES.get(self.kind, PicoError)(self.message, retry_after=self.retry_after)


class HubAnswer(msgspec.Struct, frozen=True, tag="models"):
    """The answer to a SearchJob or a DescribeJob."""

    models: list[HubModel]


JobReport: TypeAlias = FetchProgress | FetchComplete | JobFailed | HubAnswer
