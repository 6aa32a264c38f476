"""Finds an OpenBLAS that can stand in for the slow BLAS of mlx's Linux wheels. Loads nothing and starts nothing."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pico_jupyter.model_kernel import wire

# The wheels link the reference BLAS, which a library loaded before it replaces, symbol by symbol. So the names must be
# the plain ones (those of numpy and scipy are prefixed) and integers 32 bits wide: "64" and "ilp64" in a name say that
# they are not. Builds for OpenMP, which do not heed OPENBLAS_NUM_THREADS, end in "o".
LIBRARY_NAME = re.compile(r"libopenblasp?([.-][\w.-]*)?\.so[\d.]*")
UNFIT_FOLDER = re.compile(r"64_?-|openmp|ilp64")
LOADER_CACHE = Path("/etc/ld.so.cache")
CACHED_PATH = re.compile(rb"/[^\0]*/libopenblas[^\0/]*")
# ld.so splits LD_PRELOAD at both, and knows no way to quote them.
SEPARATORS = re.compile(r"[ :]+")
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")


def find_openblas(
    environ: Mapping[str, str],
    *,
    platform: str = sys.platform,
    prefix: str = sys.prefix,
    packages: Sequence[str] | None = None,
    loader_cache: Path = LOADER_CACHE,
) -> Path | None:
    """The library to preload; None where there is none, or the user preloads a BLAS already.

    Looks at LD_LIBRARY_PATH, the environment's own libraries (conda), those that the loader knows, and those in Python
    packages: opencv-python, which mlx-vlm needs, brings one.
    """
    if platform != "linux" or "blas" in environ.get("LD_PRELOAD", "").lower():
        return None
    folders = [entry for entry in environ.get("LD_LIBRARY_PATH", "").split(":") if os.path.isabs(entry)]
    beside = _in_folders([*folders, os.path.join(prefix, "lib")])
    for path in (*beside, *_known_to_loader(loader_cache), *_in_packages(sys.path if packages is None else packages)):
        if _is_fit(path):
            return path
    return None


def preloading(environ: Mapping[str, str], library: Path) -> dict[str, str]:
    """The variables that put `library` in front of mlx's BLAS, behind what the user preloads, with one thread.

    More threads spin while they wait for each other, and starve when anything else runs on the cores: on two cores,
    they decode half again as fast alone and two to three times slower next to a busy one.
    """
    variables = {
        "LD_PRELOAD": " ".join(filter(None, (environ.get("LD_PRELOAD", ""), str(library)))),
        wire.PRELOADED_VARIABLE: str(library),
    }
    if not any(environ.get(name) for name in THREAD_VARIABLES):
        variables["OPENBLAS_NUM_THREADS"] = "1"
    return variables


def _in_folders(folders: Iterable[str]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(Path(folder).glob("libopenblas*.so*"))


def _known_to_loader(cache: Path) -> Iterator[Path]:
    """The cache of ldconfig holds full paths; reading them is all that is needed of its format."""
    try:
        content = cache.read_bytes()
    except OSError:
        return
    for path in sorted(set(CACHED_PATH.findall(content))):
        yield Path(os.fsdecode(path))


def _in_packages(folders: Iterable[str]) -> Iterator[Path]:
    """Wheels carry their libraries in a folder NAME.libs beside the package."""
    for folder in folders:
        if folder.endswith("-packages"):
            yield from sorted(Path(folder).glob("*.libs/libopenblas*.so*"))


def _is_fit(path: Path) -> bool:
    real = Path(os.path.realpath(path))
    is_named_so = LIBRARY_NAME.fullmatch(real.name) and not UNFIT_FOLDER.search(real.parent.name)
    return bool(is_named_so) and not SEPARATORS.search(str(path)) and _kind(real) == _kind(Path(sys.executable))


def _kind(path: Path) -> bytes:
    """What must be alike in a program and its libraries: the file format, its width and the machine. Empty: no file."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError:
        return b""
    return head[:6] + head[18:20]
