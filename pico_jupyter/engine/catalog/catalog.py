"""Catalog: lists the models on this machine and finds one by its name. Reads files only.

Invariants:
- A model with several sources is listed once: built-in before folders, folders before the Hugging Face cache.
- find() finds every listed model by its listed name. It scans the folders again if the name is not listed, or if the
  folder of its model has changed. Only a scan can assign a short name to another model.
- A model folder is read again only if the size or the modification time of one of its files has changed.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import huggingface_hub.constants
import msgspec

from pico_jupyter.engine.catalog.model_files import Files, Source, list_files, read_model
from pico_jupyter.engine.catalog.template_process import TemplateProcess
from pico_jupyter.engine.catalog.weights import BrokenModel, NotALanguageModel
from pico_jupyter.engine_reports import SkippedFolder
from pico_jupyter.errors import InvalidRequest, ModelNotFound
from pico_jupyter.types import EngineOptions, ModelInfo

MODEL_PATH_VARIABLE = "PICO_JUPYTER_MODEL_PATH"
BUILTIN_DIR = Path(__file__).resolve().parents[2] / "builtin"
HUB_CACHE = Path(huggingface_hub.constants.HF_HUB_CACHE)
HUB_PREFIXES = ("hf.co/", "huggingface.co/")
NAME_PART = re.compile(r"[\w.-]+")
# Where LM Studio stores models, now and in older versions, relative to the home folder.
LM_STUDIO_FOLDERS = (".lmstudio/models", ".cache/lm-studio/models")
MODEL_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]*)?")

Signature: TypeAlias = tuple[tuple[str, int, int], ...]

log = logging.getLogger("pico_jupyter")


@dataclass(slots=True, frozen=True)
class _ModelFolder:
    """A folder that may hold a model. `is_foreign`: another program manages it."""

    path: Path
    org: str
    name: str
    source: Source
    is_foreign: bool = False

    @property
    def repo(self) -> str:
        return f"{self.org}/{self.name}" if self.org else ""


@dataclass(slots=True, frozen=True)
class _CachedModel:
    """The result of reading a folder; `info` is None without a usable model. `signature`: file names, sizes, times."""

    signature: Signature
    info: ModelInfo | None


class _OtherContent(Exception):
    """The folder contains an incomplete model, or one in another format."""


class Catalog:
    """The built-in models, the models in the model folders, those of LM Studio, and those in the Hugging Face cache.

    The model folders are `options.model_dirs` and those in the variable PICO_JUPYTER_MODEL_PATH of `environ`. LM
    Studio's folders are below HOME of `environ`. With `hub_cache` None, no cache is searched. New models are found
    without a restart. Thread-safe.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        environ: Mapping[str, str] = os.environ,
        hub_cache: Path | None = HUB_CACHE,
        builtin_dir: Path = BUILTIN_DIR,
    ) -> None:
        from_environ = [entry for entry in environ.get(MODEL_PATH_VARIABLE, "").split(os.pathsep) if entry]
        self._roots = [Path(entry).expanduser() for entry in (*options.model_dirs, *from_environ)]
        home = environ.get("HOME")
        self._lm_studio_roots = [Path(home) / folder for folder in LM_STUDIO_FOLDERS] if home else []
        self._preferred_org = options.preferred_org.lower()
        self._generic_tools = options.generic_tools
        self._hub_cache = hub_cache
        self._builtin_dir = builtin_dir
        self._templates = TemplateProcess()
        self._cached: dict[Path, _CachedModel] = {}
        # The models of the latest scan, by name and by repository, in lower case.
        self._listed: dict[str, ModelInfo] = {}
        # Why a folder with files of a model is not listed, by its path.
        self._skipped: dict[Path, SkippedFolder] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        known = sum(cached.info is not None for cached in self._cached.values())
        return f"<Catalog [{known} models | {len(self._roots)} model folders]>"

    def models(self) -> tuple[ModelInfo, ...]:
        """All usable models: built-in models first, then those in folders, then those in the cache."""
        with self._lock:
            return tuple(self._scan())

    def skipped(self) -> tuple[SkippedFolder, ...]:
        """The folders that contain files of a model and are not listed, with the reasons."""
        with self._lock:
            self._scan()
            return tuple(self._skipped[path] for path in sorted(self._skipped))

    def find(self, name: str) -> ModelInfo:
        """Find a model by its short name or org/name. Ignores case, the prefix hf.co/ and the tag :latest.

        Raises InvalidRequest for a malformed name and ModelNotFound for an unknown one.
        """
        spelling, tag = _parse_name(name)
        if tag in ("", "latest"):
            with self._lock:
                if not self._is_current(spelling):
                    self._scan()
                if spelling in self._listed:
                    return self._listed[spelling]
        raise ModelNotFound(f"model '{name}' not found", param="model", model=name)

    def _is_current(self, spelling: str) -> bool:
        """Whether a model is listed under a name and its folder has not changed since it was read."""
        info = self._listed.get(spelling)
        if info is None:
            return False
        folder = Path(info.path)
        try:
            is_same = _signature(list_files(folder)) == self._cached[folder].signature
        except OSError:
            return False
        return is_same and (info.source != "hub" or _main_snapshot(folder.parents[1]) == folder)

    def _scan(self) -> list[ModelInfo]:
        with closing(self._templates):
            return self._read_all()

    def _read_all(self) -> list[ModelInfo]:
        found: dict[str, tuple[_ModelFolder, ModelInfo]] = {}
        visited: set[Path] = set()
        for folder in self._model_folders():
            visited.add(folder.path)
            identity = (folder.repo or folder.name).lower()
            info = self._read(folder)
            if info is not None and identity not in found:
                found[identity] = (folder, info)
        for removed in self._cached.keys() - visited:
            del self._cached[removed]
        missing = {root for root in self._roots if not root.is_dir()}
        self._skipped = {path: folder for path, folder in self._skipped.items() if path in visited | missing}
        models = _name_models(list(found.values()), self._preferred_org)
        repos = {info.repo.lower(): info for info in models if info.repo}
        self._listed = repos | {info.name.lower(): info for info in models}
        return models

    def _model_folders(self) -> Iterator[_ModelFolder]:
        for folder in _subfolders(self._builtin_dir):
            if (folder / "config.json").is_file():
                yield _ModelFolder(folder, "", folder.name, "builtin")
        for root in self._roots:
            if root.is_dir():
                yield from _folders_below(root)
            else:
                self._skip(root, root.name, "the model folder does not exist")
        for root in self._lm_studio_roots:
            if root.is_dir():
                yield from _folders_below(root, is_foreign=True)
        if self._hub_cache is not None:
            yield from _hub_snapshots(self._hub_cache)

    def _read(self, folder: _ModelFolder) -> ModelInfo | None:
        try:
            files = list_files(folder.path)
        except OSError as error:
            self._skip(folder.path, folder.repo or folder.name, f"cannot be listed: {error}")
            return None
        signature = _signature(files)
        known = self._cached.get(folder.path)
        if known is None or known.signature != signature:
            known = _CachedModel(signature, self._read_files(folder, files))
            self._cached[folder.path] = known
        return known.info

    def _read_files(self, folder: _ModelFolder, files: Files) -> ModelInfo | None:
        is_quiet = folder.is_foreign
        try:
            _check_folder(folder, files)
            info = read_model(
                folder.path,
                files,
                self._templates,
                name=folder.name,
                repo=folder.repo,
                source=folder.source,
                generic_tools=self._generic_tools,
            )
        except _OtherContent as error:
            # In the cache, other kinds of models and running downloads are usual.
            self._skip(folder.path, folder.repo or folder.name, str(error), is_quiet=is_quiet or folder.source == "hub")
        except NotALanguageModel as error:
            reason = f"not a language model ({error})"
            self._skip(folder.path, folder.repo or folder.name, reason, is_quiet=is_quiet or folder.source == "hub")
        except (BrokenModel, OSError) as error:
            self._skip(folder.path, folder.repo or folder.name, str(error), is_quiet=is_quiet)
        except Exception as error:  # noqa: BLE001  an unforeseen fault of one folder must not hide the other models
            self._skip(folder.path, folder.repo or folder.name, f"cannot be read ({type(error).__name__})")
        else:
            self._skipped.pop(folder.path, None)
            return info
        return None

    def _skip(self, path: Path, name: str, reason: str, *, is_quiet: bool = False) -> None:
        """Remember why a folder is skipped. Log it, unless the last log entry for it had the same reason.

        is_quiet: not a warning, because the user may not expect that the folder is a model for this program.
        """
        skipped = SkippedFolder(name, str(path), reason)
        if self._skipped.get(path) != skipped:
            self._skipped[path] = skipped
            log.log(logging.DEBUG if is_quiet else logging.WARNING, "skipping %s: %s", path, reason)


def _parse_name(name: str) -> tuple[str, str]:
    """Split a name into the lower-case name without prefix, and the tag. Raises InvalidRequest for a malformed name."""
    lower_name = name.strip().lower()
    for prefix in HUB_PREFIXES:
        lower_name = lower_name.removeprefix(prefix)
    is_well_formed = MODEL_NAME.fullmatch(lower_name) is not None
    lower_name, _, tag = lower_name.partition(":")
    if not is_well_formed or any(part in (".", "..") for part in lower_name.split("/")):
        raise InvalidRequest("invalid model name", param="model", model=name)
    return lower_name, tag


def _name_models(found: list[tuple[_ModelFolder, ModelInfo]], preferred_org: str) -> list[ModelInfo]:
    """Assign each short name to one of the models that share it. The other models are listed as org/name.

    In order of preference: a model without an organization, a model of the preferred organization, the first model.
    """
    owners: dict[str, _ModelFolder] = {}
    for folder, _ in found:
        short = folder.name.lower()
        owner = owners.get(short)
        if owner is None or (owner.org and (not folder.org or folder.org.lower() == preferred_org)):
            owners[short] = folder
    return [
        info if owners[folder.name.lower()] is folder else msgspec.structs.replace(info, name=folder.repo)
        for folder, info in found
    ]


def _signature(files: Files) -> Signature:
    return tuple((name, status.st_size, status.st_mtime_ns) for name, status in files.items())


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith((".", "__")) and entry.is_dir()]
    except OSError:
        return []
    return [folder / name for name in sorted(names, key=str.lower)]


def _folders_below(root: Path, *, is_foreign: bool = False) -> Iterator[_ModelFolder]:
    """The folders NAME/ and ORG/NAME/ below `root` with files of a model, or `root` itself."""
    if _looks_like_model(root):
        yield _ModelFolder(root, "", root.name, "folder", is_foreign)
        return
    for folder in _subfolders(root):
        if _looks_like_model(folder):
            yield _ModelFolder(folder, "", folder.name, "folder", is_foreign)
            continue
        if _has_gguf(folder):
            yield _ModelFolder(folder, "", folder.name, "folder", is_foreign)
        for inner in _subfolders(folder):
            if _looks_like_model(inner) or _has_gguf(inner):
                yield _ModelFolder(inner, folder.name, inner.name, "folder", is_foreign)


def _check_folder(folder: _ModelFolder, files: Files) -> None:
    """Raise BrokenModel or _OtherContent if the files need not be read to know that this is no model."""
    if not NAME_PART.fullmatch(folder.name) or (folder.org and not NAME_PART.fullmatch(folder.org)):
        raise BrokenModel("its name has characters other than letters, digits, '_', '-' and '.'")
    if _looks_complete(files):
        return
    if any(file.endswith(".gguf") for file in files):
        raise _OtherContent(_gguf_reason(folder.name))
    if folder.source == "hub":
        raise _OtherContent("the download is incomplete")


def _has_gguf(folder: Path) -> bool:
    return any(folder.glob("*.gguf"))


def _gguf_reason(name: str) -> str:
    words = re.sub(r"[-_.]?gguf$", "", name, flags=re.IGNORECASE)
    return f'GGUF files are not supported. To find a version in MLX format, run "jupyter pico search {words}"'


def _looks_like_model(folder: Path) -> bool:
    """Whether a folder has files of a model. A broken model counts as well, so that the log reports it."""
    return (folder / "config.json").is_file() or any(folder.glob("*.safetensors"))


def _looks_complete(files: Files) -> bool:
    return "config.json" in files and any(name.endswith(".safetensors") for name in files)


def _hub_snapshots(cache: Path) -> Iterator[_ModelFolder]:
    """The folder models--org--name/snapshots/REVISION of each cached model, where refs/main has REVISION."""
    for folder in _subfolders(cache):
        kind, _, rest = folder.name.partition("--")
        if kind != "models" or not rest:
            continue
        org, _, name = rest.rpartition("--")
        snapshot = _main_snapshot(folder)
        if snapshot is not None and snapshot.is_dir():
            yield _ModelFolder(snapshot, org, name, "hub")


def _main_snapshot(repository: Path) -> Path | None:
    """The snapshot that refs/main names."""
    try:
        revision = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return repository / "snapshots" / revision if revision else None
