"""Finds a BLAS library to replace the slow BLAS of mlx's Linux wheels.

mlx's wheels link the reference BLAS. The functions of a preloaded library replace it if they have the same names (in
the libraries of numpy and scipy, names have a prefix) and use 32-bit integers.
"""

from __future__ import annotations

import os
import platform
import re
import site
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pico_jupyter.model_kernel import wire

LOADER_CACHE = Path("/etc/ld.so.cache")
CACHED_PATH = re.compile(rb"/[^\0]*/lib(?:openblas|blis|mkl_rt)[^\0/]*")
# "64" and "ilp64" mean 64-bit integers. OpenBLAS for OpenMP, whose name ends in "o", ignores OPENBLAS_NUM_THREADS.
UNFIT_FOLDER = re.compile(r"64_?-|openmp|ilp64")
VERSION = re.compile(r"\d+(?:\.\d+)+")
# ld.so splits LD_PRELOAD at spaces and colons, which cannot be quoted.
LD_PRELOAD_SEPARATORS = re.compile(r"[ :]+")
PRELOADED_BY_USER = re.compile(r"blas|\blibblis|\blibmkl")


@dataclass(frozen=True, slots=True)
class BlasKind:
    """A BLAS implementation.

    Attributes:
        name: What users call it.
        file: The names of its files.
        pattern: A glob pattern for `file`.
        thread_variables: The environment variables for its number of threads, most important first.
        one_thread: Variables for one thread, unless the user has set a number of threads.
        required: Variables that mlx needs.
        defaults: Variables that the user can override.
    """

    name: str
    file: re.Pattern[str]
    pattern: str
    thread_variables: tuple[str, ...]
    one_thread: Mapping[str, str]
    required: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)


# More threads lose time beside a busy process. On two cores with one busy process, a decode step takes 1.5 times as
# long with two threads of MKL or BLIS as with one. On idle cores, two threads are 1.1 times as fast. If the user sets
# more threads, KMP_BLOCKTIME=0 lets them sleep between products. By default they spin for 0.2 s.
MKL = BlasKind(
    "MKL",
    re.compile(r"libmkl_rt\.so[\d.]*"),
    "libmkl_rt.so*",
    ("MKL_NUM_THREADS", "OMP_NUM_THREADS"),
    one_thread={"MKL_NUM_THREADS": "1", "MKL_THREADING_LAYER": "SEQUENTIAL"},
    required={"MKL_INTERFACE_LAYER": "LP64"},
    defaults={"KMP_BLOCKTIME": "0"},
)
BLIS = BlasKind(
    "BLIS",
    re.compile(r"libblis\.so[\d.]*"),
    "libblis.so*",
    ("BLIS_NUM_THREADS", "OMP_NUM_THREADS"),
    one_thread={"BLIS_NUM_THREADS": "1"},
)
OPENBLAS = BlasKind(
    "OpenBLAS",
    re.compile(r"libopenblasp?([.-][\w.-]*)?\.so[\d.]*"),
    "libopenblas*.so*",
    ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"),
    one_thread={"OPENBLAS_NUM_THREADS": "1"},
)
KINDS = (MKL, BLIS, OPENBLAS)


def find_blas(
    environ: Mapping[str, str],
    *,
    system: str = sys.platform,
    machine: str | None = None,
    prefixes: Sequence[str] | None = None,
    packages: Sequence[str] | None = None,
    loader_cache: Path = LOADER_CACHE,
) -> tuple[Path, ...]:
    """Return the libraries that can be preloaded, the best of each kind, in order of preference.

    Returns () if the user already preloads a BLAS.

    Searches LD_LIBRARY_PATH, the libraries of the environment (conda, pip's mkl), the cache of ldconfig, and the Python
    packages: opencv-python, which mlx-vlm needs, contains an OpenBLAS. MKL is preferred to BLIS, and BLIS to OpenBLAS.
    Of two libraries of one kind, one in LD_LIBRARY_PATH is preferred, then the newer one.
    """
    if system != "linux" or PRELOADED_BY_USER.search(environ.get("LD_PRELOAD", "").lower()):
        return ()
    by_user = [entry for entry in environ.get("LD_LIBRARY_PATH", "").split(":") if os.path.isabs(entry)]
    folders = [*by_user, *(os.path.join(prefix, "lib") for prefix in prefixes or (sys.prefix, site.getuserbase()))]
    found = [path for folder in folders for kind in KINDS for path in sorted(Path(folder).glob(kind.pattern))]
    found += [*_in_loader_cache(loader_cache), *_in_packages(sys.path if packages is None else packages)]
    suitable = sorted(filter(_is_suitable, found), key=_version, reverse=True)
    suitable.sort(key=lambda path: str(path.parent) not in by_user)
    best = {kind_of(path).name: path for path in reversed(suitable)}
    # BLIS was measured on x86-64 only.
    order = KINDS if (machine or platform.machine()) == "x86_64" else (MKL, OPENBLAS, BLIS)
    return tuple(best[kind.name] for kind in order if kind.name in best)


def kind_of(library: Path) -> BlasKind:
    """Return the kind of a library from its file's name. A name without a kind means OpenBLAS."""
    name = Path(os.path.realpath(library)).name
    return next((kind for kind in KINDS if kind.file.fullmatch(name)), OPENBLAS)


def preloading(environ: Mapping[str, str], library: Path) -> dict[str, str]:
    """Return the environment variables that preload `library` (after the user's libraries) and set it to one thread.

    If the user has set the number of threads, that number stays.
    """
    kind = kind_of(library)
    variables = {name: value for name, value in kind.defaults.items() if name not in environ}
    if not any(environ.get(name) for name in kind.thread_variables):
        variables |= kind.one_thread
    preloaded = " ".join(filter(None, (environ.get("LD_PRELOAD", ""), str(library))))
    return {**variables, **kind.required, "LD_PRELOAD": preloaded, wire.PRELOADED_VARIABLE: str(library)}


def _in_loader_cache(cache: Path) -> Iterator[Path]:
    """Find the paths in the cache of ldconfig, which contains them as plain strings."""
    try:
        content = cache.read_bytes()
    except OSError:
        return
    for path in sorted(set(CACHED_PATH.findall(content))):
        yield Path(os.fsdecode(path))


def _in_packages(folders: Sequence[str]) -> Iterator[Path]:
    """Find the libraries in folders NAME.libs, where wheels install them."""
    for folder in folders:
        if folder.endswith("-packages"):
            yield from sorted(Path(folder).glob(f"*.libs/{OPENBLAS.pattern}"))


def _version(library: Path) -> tuple[int, ...]:
    """Return the version in a file's name, such as (0, 3, 15) for libopenblasp-r0-59ffcd50.3.15.so."""
    name = re.sub(r"-[0-9a-f]{8}(?=\.)", "", Path(os.path.realpath(library)).name)
    found = VERSION.search(name.replace(".so", ""))
    return tuple(map(int, found[0].split("."))) if found else ()


def _is_suitable(path: Path) -> bool:
    real = Path(os.path.realpath(path))
    if not any(kind.file.fullmatch(real.name) for kind in KINDS) or UNFIT_FOLDER.search(real.parent.name):
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
