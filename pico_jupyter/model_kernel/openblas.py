"""Finds an OpenBLAS library to replace the slow BLAS of mlx's Linux wheels, and checks that the library works."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pico_jupyter.model_kernel import wire

# mlx's wheels link the reference BLAS. The functions of a preloaded library replace it if they have the same names (in
# the libraries of numpy and scipy, names have a prefix) and use 32-bit integers ("64" or "ilp64" in a file's name means
# 64 bits). Builds for OpenMP, whose names end in "o", ignore OPENBLAS_NUM_THREADS.
LIBRARY_NAME = re.compile(r"libopenblasp?([.-][\w.-]*)?\.so[\d.]*")
UNFIT_FOLDER = re.compile(r"64_?-|openmp|ilp64")
LOADER_CACHE = Path("/etc/ld.so.cache")
CACHED_PATH = re.compile(rb"/[^\0]*/libopenblas[^\0/]*")
# ld.so splits LD_PRELOAD at spaces and colons, which cannot be quoted.
LD_PRELOAD_SEPARATORS = re.compile(r"[ :]+")
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
LOADER_ERROR = re.compile(
    "cannot be preloaded|error while loading shared libraries|symbol lookup error|undefined symbol"
)
CHECK_STARTED = "checking the preloaded BLAS:"
CHECK_FAILED = "wrong results of the preloaded BLAS:"
KILLS = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT) if sys.platform != "win32" else ()
CRASHES = tuple(-getattr(signal, name, 0) for name in ("SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGABRT"))

log = logging.getLogger("pico_jupyter")


def find_openblas(
    environ: Mapping[str, str],
    *,
    platform: str = sys.platform,
    prefix: str = sys.prefix,
    packages: Sequence[str] | None = None,
    loader_cache: Path = LOADER_CACHE,
) -> Path | None:
    """Return the library to preload; None if no library is found, or if the user preloads a BLAS already.

    Searches LD_LIBRARY_PATH, the libraries of the conda environment, the cache of ldconfig, and the Python packages:
    opencv-python, which mlx-vlm needs, contains an OpenBLAS.
    """
    if platform != "linux" or "blas" in environ.get("LD_PRELOAD", "").lower():
        return None
    folders = [entry for entry in environ.get("LD_LIBRARY_PATH", "").split(":") if os.path.isabs(entry)]
    in_folders = _in_folders([*folders, os.path.join(prefix, "lib")])
    in_packages = _in_packages(sys.path if packages is None else packages)
    for path in (*in_folders, *_in_loader_cache(loader_cache), *in_packages):
        if _is_suitable(path):
            return path
    return None


def preloading(environ: Mapping[str, str], library: Path) -> dict[str, str]:
    """Return the environment variables that preload `library` (after the user's libraries) and set it to one thread.

    Threads of OpenBLAS spin while they wait. On two cores, two threads decode 1.5 times as fast as one if the machine
    is idle, but two to three times slower if one other process is busy.
    """
    variables = {
        "LD_PRELOAD": " ".join(filter(None, (environ.get("LD_PRELOAD", ""), str(library)))),
        wire.PRELOADED_VARIABLE: str(library),
    }
    if not any(environ.get(name) for name in THREAD_VARIABLES):
        variables["OPENBLAS_NUM_THREADS"] = "1"
    return variables


def is_library_fault(output: str, exit_status: int | None) -> bool:
    """Whether the preloaded library is the reason why a kernel did not start.

    The library is at fault if the loader reports an error, or if check_preloaded() found a wrong result or crashed (a
    library built for another processor crashes with SIGILL). It is not at fault if the kernel was killed from outside.
    """
    if exit_status in KILLS:
        return False
    if LOADER_ERROR.search(output):
        return True
    last = output.rsplit("\n", 1)[-1]
    return CHECK_FAILED in last or (CHECK_STARTED in last and exit_status in CRASHES)


def check_preloaded(environ: Mapping[str, str]) -> None:
    """Multiply two matrices with the BLAS that this process has preloaded. A wrong result ends the process."""
    library = environ.get(wire.PRELOADED_VARIABLE)
    multiply = getattr(ctypes.CDLL(None), "cblas_sgemm", None) if library else None
    if multiply is None:
        return
    log.info("%s %s", CHECK_STARTED, library)
    n = 64
    square = ctypes.c_float * (n * n)
    ones, product = square(*[1.0] * (n * n)), square()
    one, zero = ctypes.c_float(1.0), ctypes.c_float(0.0)
    multiply(101, 111, 111, n, n, n, one, ones, n, ones, n, zero, product, n)
    if list(product) != [float(n)] * (n * n):
        log.error("%s %s", CHECK_FAILED, library)
        sys.exit(1)
    log.info("the preloaded BLAS works")


def _in_folders(folders: Iterable[str]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(Path(folder).glob("libopenblas*.so*"))


def _in_loader_cache(cache: Path) -> Iterator[Path]:
    """Find the paths in the cache of ldconfig, which contains them as plain strings."""
    try:
        content = cache.read_bytes()
    except OSError:
        return
    for path in sorted(set(CACHED_PATH.findall(content))):
        yield Path(os.fsdecode(path))


def _in_packages(folders: Iterable[str]) -> Iterator[Path]:
    """Find the libraries in folders NAME.libs, where wheels install them."""
    for folder in folders:
        if folder.endswith("-packages"):
            yield from sorted(Path(folder).glob("*.libs/libopenblas*.so*"))


def _is_suitable(path: Path) -> bool:
    real = Path(os.path.realpath(path))
    if LIBRARY_NAME.fullmatch(real.name) is None or UNFIT_FOLDER.search(real.parent.name):
        return False
    return not LD_PRELOAD_SEPARATORS.search(str(path)) and _format(real) == _format(Path(sys.executable))


def _format(path: Path) -> bytes:
    """Return the ELF fields for word size, byte order and machine; b"" if the file cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError:
        return b""
    return head[:6] + head[18:20]
