"""The models on this machine and the names that mean them. Reads files only; loads nothing and imports no mlx."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub.constants
import msgspec

from pico_jupyter.engine.catalog.model_files import (
    BrokenModel,
    Files,
    NotALanguageModel,
    Source,
    list_files,
    read_model,
)
from pico_jupyter.errors import InvalidRequest, ModelNotFound
from pico_jupyter.types import EngineOptions, ModelInfo

# Invariants: of one repository the first source counts (built-in, folders, hub); every listed name resolves to the
# model that it is listed with; a folder is read again only when one of its files changed size or time.

MODEL_PATH_VARIABLE = "PICO_JUPYTER_MODEL_PATH"
BUILTIN_DIR = Path(__file__).resolve().parents[2] / "builtin"
HUB_CACHE = Path(huggingface_hub.constants.HF_HUB_CACHE)
HUB_PREFIXES = ("hf.co/", "huggingface.co/")
SEGMENT = re.compile(r"[\w.-]+")
NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]*)?")

log = logging.getLogger("pico_jupyter")


@dataclass(slots=True, frozen=True)
class _Place:
    """A folder that may hold a model."""

    path: Path
    org: str
    name: str
    source: Source

    @property
    def repo(self) -> str:
        return f"{self.org}/{self.name}" if self.org else ""


@dataclass(slots=True, frozen=True)
class _Reading:
    """What a folder said when its files had these sizes and times; None: it holds no usable model."""

    signature: tuple[tuple[str, int, int], ...]
    info: ModelInfo | None


class Catalog:
    """The built-in models, those below the model folders, and those in the Hugging Face cache (None: without one).

    Every question looks at the disk again, so that a model which was just put there is found; that costs one listing
    per folder. May be asked from any thread.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        environ: Mapping[str, str] = os.environ,
        hub_cache: Path | None = HUB_CACHE,
        builtin_dir: Path = BUILTIN_DIR,
    ) -> None:
        listed = [entry for entry in environ.get(MODEL_PATH_VARIABLE, "").split(os.pathsep) if entry]
        self._roots = [Path(entry).expanduser() for entry in (*options.model_dirs, *listed)]
        self._preferred_org = options.preferred_org.lower()
        self._hub_cache = hub_cache
        self._builtin_dir = builtin_dir
        self._readings: dict[Path, _Reading] = {}
        self._complaints: dict[Path, str] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        known = sum(reading.info is not None for reading in self._readings.values())
        return f"<Catalog [{known} models | {len(self._roots)} model folders]>"

    def models(self) -> tuple[ModelInfo, ...]:
        """Every usable model: built-in, from folders, from the hub cache; each under its canonical name."""
        with self._lock:
            return tuple(self._scan())

    def find(self, name: str) -> ModelInfo:
        """The model that `name` means: short name, org/name, with :latest or hf.co/, in any case.

        Raises InvalidRequest for an ill-formed name and ModelNotFound.
        """
        spelling, tag = _parse_name(name)
        models = self.models() if tag in ("", "latest") else ()
        for info in models:
            if spelling == info.name.lower():
                return info
        for info in models:
            if info.repo and spelling == info.repo.lower():
                return info
        raise ModelNotFound(f"model '{name}' not found", param="model", model=name)

    def _scan(self) -> list[ModelInfo]:
        found: dict[str, tuple[_Place, ModelInfo]] = {}
        visited: set[Path] = set()
        for place in self._places():
            visited.add(place.path)
            identity = (place.repo or place.name).lower()
            info = self._read(place)
            if info is not None and identity not in found:
                found[identity] = (place, info)
        for gone in self._readings.keys() - visited:
            del self._readings[gone]
            self._complaints.pop(gone, None)
        return _name_models(list(found.values()), self._preferred_org)

    def _places(self) -> Iterator[_Place]:
        for folder in _subfolders(self._builtin_dir):
            if (folder / "config.json").is_file():
                yield _Place(folder, "", folder.name, "builtin")
        for root in self._roots:
            yield from self._root_places(root)
        if self._hub_cache is not None:
            yield from _hub_places(self._hub_cache)

    def _root_places(self, root: Path) -> Iterator[_Place]:
        if not root.is_dir():
            self._complain(root, "there is no such model folder")
            return
        if _looks_like_model(root):
            yield _Place(root, "", root.name, "folder")
            return
        for folder in _subfolders(root):
            if _looks_like_model(folder):
                yield _Place(folder, "", folder.name, "folder")
                continue
            for inner in _subfolders(folder):
                if _looks_like_model(inner):
                    yield _Place(inner, folder.name, inner.name, "folder")

    def _read(self, place: _Place) -> ModelInfo | None:
        try:
            files = list_files(place.path)
        except OSError as error:
            self._complain(place.path, f"cannot be listed: {error}")
            return None
        signature = tuple((name, status.st_size, status.st_mtime_ns) for name, status in files.items())
        known = self._readings.get(place.path)
        if known is None or known.signature != signature:
            known = _Reading(signature, self._read_files(place, files))
            self._readings[place.path] = known
        return known.info

    def _read_files(self, place: _Place, files: Files) -> ModelInfo | None:
        if not all(SEGMENT.fullmatch(part) for part in (place.org or place.name, place.name)):
            self._complain(place.path, "its name has characters other than letters, digits, '_', '-' and '.'")
            return None
        if place.source == "hub" and not _looks_complete(files):
            log.debug("skipping %s: not completely downloaded", place.path)
            return None
        try:
            info = read_model(place.path, files, name=place.name, repo=place.repo, source=place.source)
        except NotALanguageModel as error:
            if place.source == "hub":
                log.debug("skipping %s: %s", place.path, error)
            else:
                self._complain(place.path, f"not a language model ({error})")
            return None
        except (BrokenModel, OSError) as error:
            self._complain(place.path, str(error))
            return None
        self._complaints.pop(place.path, None)
        return info

    def _complain(self, path: Path, reason: str) -> None:
        """Say it once, and again only when the reason changed."""
        if self._complaints.get(path) != reason:
            self._complaints[path] = reason
            log.warning("skipping %s: %s", path, reason)


def _parse_name(name: str) -> tuple[str, str]:
    """(spelling in small letters without prefix and tag, tag). Raises InvalidRequest where nothing can be called so."""
    spelling = name.strip().lower()
    for prefix in HUB_PREFIXES:
        spelling = spelling.removeprefix(prefix)
    well_formed = NAME.fullmatch(spelling) is not None
    spelling, _, tag = spelling.partition(":")
    if not well_formed or any(part in (".", "..") for part in spelling.split("/")):
        raise InvalidRequest("invalid model name", param="model", model=name)
    return spelling, tag


def _name_models(found: list[tuple[_Place, ModelInfo]], preferred_org: str) -> list[ModelInfo]:
    """Give each short name to one model: to one without organisation, to the preferred one's, to the first."""
    owners: dict[str, _Place] = {}
    for place, _ in found:
        short = place.name.lower()
        owner = owners.get(short)
        if owner is None or (owner.org and (not place.org or place.org.lower() == preferred_org)):
            owners[short] = place
    return [
        info if owners[place.name.lower()] is place else msgspec.structs.replace(info, name=place.repo)
        for place, info in found
    ]


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith((".", "__")) and entry.is_dir()]
    except OSError:
        return []
    return [folder / name for name in sorted(names, key=str.lower)]


def _looks_like_model(folder: Path) -> bool:
    """True also for broken ones, which then are named in the log."""
    return (folder / "config.json").is_file() or any(folder.glob("*.safetensors"))


def _looks_complete(files: Files) -> bool:
    return "config.json" in files and any(name.endswith(".safetensors") for name in files)


def _hub_places(cache: Path) -> Iterator[_Place]:
    """models--org--name/snapshots/<what refs/main says>."""
    for folder in _subfolders(cache):
        kind, _, rest = folder.name.partition("--")
        if kind != "models" or not rest:
            continue
        org, _, name = rest.rpartition("--")
        try:
            revision = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
        snapshot = folder / "snapshots" / revision
        if revision and snapshot.is_dir():
            yield _Place(snapshot, org, name, "hub")
