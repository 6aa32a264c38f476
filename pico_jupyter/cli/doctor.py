"""`jupyter pico doctor`: looks at this installation and says what to do about each problem."""

from __future__ import annotations

import importlib
import logging
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import psutil
from jupyter_core.paths import jupyter_config_path
from jupyter_server.extension.config import ExtensionConfigManager

from pico_jupyter.cli.models import readable_bytes
from pico_jupyter.engine.catalog import Catalog
from pico_jupyter.types import EngineOptions

PACKAGES = ("pico-jupyter", "jupyter-server", "jupyter-client", "ipykernel", "mlx", "mlx-lm", "mlx-vlm", "transformers")
LITTLE_MEMORY = 2e9
MARKS = {"ok": "ok  ", "note": "note", "problem": "FAIL"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `remedy` says what to do."""

    grade: Literal["ok", "note", "problem"]
    subject: str
    text: str
    remedy: str = ""


def diagnose(options: EngineOptions) -> int:
    """Print every finding and return the exit status: 1 when there is a problem."""
    findings = [*_packages(), *_device(), *_memory(options), *_extension(), *_models(options)]
    for finding in findings:
        print(f"{MARKS[finding.grade]}  {finding.subject:<11}{finding.text}")
        if finding.remedy:
            print(f"{'':<17}-> {finding.remedy}")
    problems = [finding for finding in findings if finding.grade == "problem"]
    print(f"\n{len(problems)} problem{'' if len(problems) == 1 else 's'} found" if problems else "\nall is well")
    return 1 if problems else 0


def _packages() -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} at {sys.executable}")
    for package in PACKAGES:
        try:
            yield Finding("ok", "package", f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding("problem", "package", f"{package} is not installed", f'run "pip install {package}"')


def _device() -> Iterator[Finding]:
    try:
        mx: Any = importlib.import_module("mlx.core")
        device = mx.default_device()
        name = mx.device_info().get("device_name", "unknown")
    except (ImportError, RuntimeError) as error:
        extra = "mlx[cpu]" if sys.platform == "linux" else "mlx"
        yield Finding(
            "problem", "device", f"mlx does not work: {error}", f'run "pip install --force-reinstall {extra}"'
        )
        return
    if "gpu" in str(device):
        yield Finding("ok", "device", f"{device}, {name}")
        return
    remedy = "models run on the processor, which is slow; a Mac with Apple silicon is what this is made for"
    yield Finding("note", "device", f"{device}, {name}", remedy)
    yield from _blas()


def _blas() -> Iterator[Finding]:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    mapped = {line.split()[-1] for line in maps.read_text().splitlines() if "blas" in line.lower()}
    names = sorted(Path(path).name for path in mapped)
    if any("openblas" in name.lower() for name in names):
        yield Finding("ok", "blas", ", ".join(names))
    elif names:
        remedy = "matrices in float32 are multiplied by the slow reference library that mlx brings along"
        yield Finding("note", "blas", ", ".join(names), remedy)


def _memory(options: EngineOptions) -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    text = f"{readable_bytes(memory.total)} in all, {readable_bytes(memory.available)} available"
    if options.memory_budget:
        text += f", {readable_bytes(options.memory_budget)} allowed for models (c.PicoJupyter.memory_budget)"
    if memory.available < LITTLE_MEMORY:
        yield Finding("note", "memory", text, "close other programs before loading anything but the smallest models")
    else:
        yield Finding("ok", "memory", text)


def _extension() -> Iterator[Finding]:
    config = ExtensionConfigManager(read_config_path=jupyter_config_path())
    if config.enabled("pico_jupyter"):
        yield Finding("ok", "extension", "pico_jupyter is enabled in the Jupyter server")
    else:
        remedy = 'run "jupyter server extension enable pico_jupyter" in the environment of your Jupyter server'
        yield Finding("problem", "extension", "pico_jupyter is not enabled in the Jupyter server", remedy)


def _models(options: EngineOptions) -> Iterator[Finding]:
    for folder in options.model_dirs:
        if not Path(folder).expanduser().is_dir():
            remedy = "create it, or mend c.PicoJupyter.model_dirs (PICO_JUPYTER_MODEL_PATH)"
            yield Finding("problem", "models", f"{folder} is not a folder", remedy)
    skipped = _Skipped()
    log = logging.getLogger("pico_jupyter")
    log.addHandler(skipped)
    try:
        models = Catalog(options).models()
    finally:
        log.removeHandler(skipped)
    yield Finding("ok", "models", f"{len(models)} found: {', '.join(info.name for info in models)}")
    for message in skipped.messages:
        yield Finding("note", "models", message)
    if all(info.source == "builtin" for info in models):
        remedy = "put an MLX model (a folder with config.json and *.safetensors) into a folder named by "
        yield Finding("note", "models", "only the built-in toys are here", f"{remedy}PICO_JUPYTER_MODEL_PATH")


class _Skipped(logging.Handler):
    """Keeps what the catalog says of broken folders."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
