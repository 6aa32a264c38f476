"""`jupyter pico doctor`: checks this installation and suggests a remedy for each problem."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import msgspec
import psutil
from jupyter_core.paths import jupyter_config_path
from jupyter_server.config_manager import BaseJSONConfigManager, recursive_update

from pico_jupyter.engine.backends import probe
from pico_jupyter.engine.backends.probe import Speed
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.model_kernel.blas import OPENBLAS, PRELOADED_BY_USER, find_blas, kind_of
from pico_jupyter.model_kernel.launcher import kernel_environment
from pico_jupyter.sizes import about
from pico_jupyter.types import EngineOptions

PACKAGES = ("pico-jupyter", "jupyter-server", "jupyter-client", "ipykernel", "mlx", "mlx-lm", "mlx-vlm", "transformers")
LITTLE_MEMORY_BYTES = 2e9
SERVER_CONFIG = "jupyter_server_config"
PROBE_SECONDS = 60.0
# A BLAS that decodes more slowly than this share of the memory's speed copies the weights.
FAST_DECODE_SHARE = 0.6
MKL_REMEDY = 'run "pip install mkl" (1 GB) in this environment to decode up to twice as fast'
MARKS = {"ok": "ok  ", "note": "note", "problem": "FAIL"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `remedy` is "" if there is nothing to do."""

    grade: Literal["ok", "note", "problem"]
    subject: str
    text: str
    remedy: str = ""


def diagnose(options: EngineOptions, *, openblas: bool = True) -> int:
    """Print all findings. Returns 1 if there is a problem, else 0. `openblas`: the setting c.PicoJupyter.openblas."""
    return print_findings(
        [*_packages(), *_device(options, openblas), *_memory(options), *_extension(), *_models(options)]
    )


def print_findings(findings: Sequence[Finding]) -> int:
    """Print findings and the number of problems. Returns 1 if there is a problem, else 0."""
    for finding in findings:
        print(f"{MARKS[finding.grade]}  {finding.subject:<11}{finding.text}")
        if finding.remedy:
            print(f"{'':<17}-> {finding.remedy}")
    problems = sum(finding.grade == "problem" for finding in findings)
    print(f"\n{problems or 'no'} problem{'' if problems == 1 else 's'} found")
    return 1 if problems else 0


def _packages() -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} at {sys.executable}")
    for package in PACKAGES:
        try:
            yield Finding("ok", "package", f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding("problem", "package", f"{package} is not installed", f'run "pip install {package}"')


def _device(options: EngineOptions, openblas: bool) -> Iterator[Finding]:
    try:
        mx: Any = importlib.import_module("mlx.core")
        device = mx.default_device()
        name = mx.device_info().get("device_name", "unknown")
    except (ImportError, RuntimeError) as error:
        extra = "mlx[cpu]" if sys.platform == "linux" else "mlx"
        remedy = f'run "pip install --force-reinstall {extra}"'
        yield Finding("problem", "device", f"mlx does not work: {error}", remedy)
        return
    if "gpu" in str(device):
        yield Finding("ok", "device", f"{device}, {name}")
        return
    remedy = "without a GPU models are slow; pico_jupyter is made for Macs with Apple silicon"
    yield Finding("note", "device", f"{device}, {name}", remedy)
    if sys.platform == "linux":
        libraries = find_blas(os.environ) if openblas else ()
        yield from _blas(libraries, openblas)
        yield from _precision(options, has_library=bool(libraries))


def _blas(libraries: Sequence[Path], is_enabled: bool) -> Iterator[Finding]:
    """Measure the model kernel without a preloaded BLAS, then with the first of `libraries` that works."""
    plain = _speed(kernel_environment(os.environ))
    names = ", ".join(Path(path).name for path in plain.blas) if plain else ""
    measured = f"{names}: {_prefill_speed(plain)}"
    if not is_enabled:
        remedy = "c.PicoJupyter.openblas = True preloads a faster BLAS into the model kernel"
        yield Finding("note", "blas", f"{measured}; preloading is switched off", remedy)
    elif not libraries and PRELOADED_BY_USER.search(os.environ.get("LD_PRELOAD", "").lower()):
        yield Finding("ok", "blas", f"{measured}, set by your LD_PRELOAD")
    elif not libraries:
        remedy = 'run "apt install libopenblas0-pthread", "conda install libopenblas" or "pip install opencv-python"'
        yield Finding("note", "blas", f"{measured}; no BLAS to preload was found", remedy)
    for library in libraries:
        speed = _speed(kernel_environment(os.environ, library))
        if speed is not None and os.path.realpath(library) in speed.blas:
            yield _preloaded(library, speed, plain)
            yield _decode_speed(speed, can_improve=kind_of(library) is OPENBLAS)
            return
        remedy = "the model kernel starts without it; c.PicoJupyter.openblas = False skips the attempt"
        yield Finding("note", "blas", f"{library} cannot be preloaded", remedy)
    if plain is not None:
        yield _decode_speed(plain, can_improve=is_enabled)


def _preloaded(library: Path, speed: Speed, plain: Speed | None) -> Finding:
    environ = kernel_environment(os.environ, library)
    kind = kind_of(library)
    threads = next(environ[name] for name in kind.thread_variables if environ.get(name))
    text = f"{speed.float32:.1f} GFLOP/s in float32 with {library}, preloaded into the model kernel, threads: {threads}"
    remedy = (
        f"without it: {_prefill_speed(plain)}; c.PicoJupyter.openblas = False disables it, "
        f"{kind.thread_variables[0]} sets the threads"
    )
    return Finding("ok", "blas", text, remedy)


def _prefill_speed(speed: Speed | None) -> str:
    if speed is None:
        return "not measured"
    return f"{speed.float32:.1f} GFLOP/s in float32, {speed.bfloat16:.1f} in bfloat16"


def _decode_speed(speed: Speed, *, can_improve: bool) -> Finding:
    """Compare the decode speed with the speed of the memory, which limits it."""
    text = f"decoding reads weights at {speed.decode:.1f} GB/s, one thread reads memory at {speed.memory:.1f} GB/s"
    if speed.decode >= FAST_DECODE_SHARE * speed.memory:
        return Finding("ok", "decode", text)
    # MKL is for x86-64 only.
    has_mkl = can_improve and platform.machine() == "x86_64"
    return Finding("note", "decode", text, MKL_REMEDY if has_mkl else "")


def _speed(environ: Mapping[str, str]) -> Speed | None:
    """Return the speeds in a process with this environment, or None if the process fails."""
    command = [sys.executable, "-m", probe.__name__]
    done = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=PROBE_SECONDS)
    return msgspec.json.decode(done.stdout, type=Speed) if done.returncode == 0 else None


def _precision(options: EngineOptions, *, has_library: bool) -> Iterator[Finding]:
    if options.float32_on_cpu:
        text = "16-bit models are computed in float32 if the memory suffices"
        yield Finding("ok", "precision", text, "c.PicoJupyter.float32_on_cpu = False halves their memory")
    else:
        grade: Literal["ok", "note"] = "note" if has_library else "ok"
        text = "16-bit models are computed in 16 bits"
        yield Finding(grade, "precision", text, "c.PicoJupyter.float32_on_cpu = True computes them in float32")


def _memory(options: EngineOptions) -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    text = f"{about(memory.total)} in total, {about(memory.available)} available"
    if options.memory_budget:
        text += f", {about(options.memory_budget)} allowed for models (c.PicoJupyter.memory_budget)"
    if memory.available < LITTLE_MEMORY_BYTES:
        remedy = "close other programs before you load a model, unless it is one of the smallest"
        yield Finding("note", "memory", text, remedy)
    else:
        yield Finding("ok", "memory", text)


def _extension() -> Iterator[Finding]:
    config: dict[str, Any] = {}
    for folder in reversed(jupyter_config_path()):
        recursive_update(config, BaseJSONConfigManager(config_dir=folder).get(SERVER_CONFIG))
    if config.get("ServerApp", {}).get("jpserver_extensions", {}).get("pico_jupyter"):
        yield Finding("ok", "extension", "pico_jupyter is enabled in the Jupyter server")
    else:
        remedy = 'run "jupyter server extension enable pico_jupyter" in the environment of your Jupyter server'
        yield Finding("problem", "extension", "pico_jupyter is not enabled in the Jupyter server", remedy)


def _models(options: EngineOptions) -> Iterator[Finding]:
    for folder in options.model_dirs:
        if not Path(folder).expanduser().is_dir():
            remedy = "create it, or correct c.PicoJupyter.model_dirs (PICO_JUPYTER_MODEL_PATH)"
            yield Finding("problem", "models", f"{folder} is not a folder", remedy)
    catalog = Catalog(options)
    models = catalog.models()
    yield Finding("ok", "models", f"{len(models)} found: {', '.join(info.name for info in models)}")
    for skipped in catalog.skipped():
        yield Finding("note", "models", f"skipping {skipped.path}: {skipped.reason}")
    if all(info.source == "builtin" for info in models):
        remedy = "put an MLX model folder (config.json, *.safetensors) into a folder named by PICO_JUPYTER_MODEL_PATH"
        yield Finding("note", "models", "there are only the built-in models", remedy)


class WarningCollector(logging.Handler):
    """Collects the messages of the catalog's warnings about broken model folders."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
