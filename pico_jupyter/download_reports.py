"""Defines what the server reports about downloads and about the models of the Hugging Face hub. Sizes are in bytes."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pico_jupyter.errors import InvalidRequest

PREFERRED_OWNER = "mlx-community"
REPO_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}"
_PREFIXES = ("hf.co/", "huggingface.co/")

DownloadState: TypeAlias = Literal["queued", "running", "paused", "failed", "complete"]
HubFit: TypeAlias = Literal["yes", "tight", "no"]
LocalState: TypeAlias = Literal["absent", "partial", "running", "present"]


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """A download of a model. It continues without a client, and can be resumed unless it is complete."""

    id: Annotated[str, Meta(description="`owner/name`.")]
    model: str
    state: DownloadState
    completed: Annotated[int, Meta(description="Bytes on this machine, including those of earlier attempts.")] = 0
    total: Annotated[int | None, Meta(description="Bytes of all files; null until they are known.")] = None
    rate: Annotated[float | None, Meta(description="Bytes per second in the last seconds; null unless running.")] = None
    seconds_left: Annotated[float | None, Meta(description="Estimated; null if unknown.")] = None
    file: Annotated[str | None, Meta(description="The file that is being downloaded or verified.")] = None
    error: Annotated[str | None, Meta(description="Why the download failed, and what to do.")] = None
    started: Annotated[str, Meta(description="The time of the first attempt, in RFC 3339 format.")]


class DownloadList(msgspec.Struct, frozen=True):
    """The downloads that are not complete, and those that this server has completed."""

    downloads: list[Download]


class FreedDisk(msgspec.Struct, frozen=True):
    """What the removal of a model or of a partial download freed."""

    model: str
    freed: Annotated[int, Meta(description="Bytes.")]


class HubModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the Hugging Face hub. Fields that are unknown without a further request are null."""

    model: Annotated[str, Meta(description="`owner/name`.")]
    title: str
    description: str | None = None
    license: str | None = None
    capabilities: list[str] | None = None
    disk_bytes: Annotated[int | None, Meta(description="Bytes of the files to download.")] = None
    memory_bytes: Annotated[int | None, Meta(description="Weights, and caches for 8192 tokens; estimated.")] = None
    parameters: Annotated[str | None, Meta(description="The number of parameters, such as 4.0B.")] = None
    quantization: Annotated[str | None, Meta(description="Such as 4bit or bf16.")] = None
    fits: Annotated[
        HubFit | None,
        Meta(
            description="yes: into the memory that is free now. tight: only after other programs or models free some."
        ),
    ] = None
    state: Annotated[LocalState, Meta(description="Whether the model is on this machine.")] = "absent"
    machine_gb: Annotated[
        int | None, Meta(description="The least memory of a machine for this model: 8, 16, 32 or 64 GB.")
    ] = None
    gated: Annotated[bool | None, Meta(description="Whether the hub gives the files only to approved accounts.")] = None
    downloads: Annotated[int | None, Meta(description="How often the hub counted a download in the last month.")] = None
    problem: Annotated[str | None, Meta(description="Why this server cannot run the model; null if it can.")] = None


class MachineMemory(msgspec.Struct, frozen=True):
    """The memory of the machine."""

    total: int
    free: Annotated[int, Meta(description="What programs can use now without swapping.")]


class RecommendedModels(msgspec.Struct, frozen=True):
    """A short list of good models for machines of several sizes."""

    memory: MachineMemory
    models: list[HubModel]


class FoundModels(msgspec.Struct, frozen=True):
    """The models that a search found."""

    models: list[HubModel]


def read_repo_name(name: str) -> str:
    """Return `owner/name` for the name of a repository, which may have the prefix hf.co/ and the tag :latest.

    A name without an owner belongs to mlx-community. Raises InvalidRequest.
    """
    plain = name.strip().removesuffix(":latest")
    for prefix in _PREFIXES:
        plain = plain.removeprefix(prefix)
    if not re.fullmatch(f"({REPO_PART}/)?{REPO_PART}", plain) or ".." in plain or "--" in plain:
        hint = "models come from the Hugging Face hub, such as mlx-community/Qwen3-4B-4bit"
        raise InvalidRequest(f"invalid model name: {hint}", param="model", code="invalid_value")
    return plain if "/" in plain else f"{PREFERRED_OWNER}/{plain}"
