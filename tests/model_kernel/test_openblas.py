"""Which OpenBLAS is found and which are ignored, and how it is preloaded and checked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pico_jupyter.model_kernel.openblas import find_openblas, is_library_fault, preloading

HEAD = Path(sys.executable).read_bytes()[:20]
Find = Callable[..., Path | None]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """find_openblas() on a machine that has only the files below tmp_path."""

    def found(environ: dict[str, str] | None = None, platform: str = "linux") -> Path | None:
        return find_openblas(
            environ or {},
            platform=platform,
            prefix=str(tmp_path / "environment"),
            packages=[str(tmp_path), str(tmp_path / "site-packages")],
            loader_cache=tmp_path / "ld.so.cache",
        )

    return found


def library(path: Path, head: bytes = HEAD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head)
    return path


def test_a_machine_without_openblas_preloads_nothing(find: Find) -> None:
    assert find() is None


def test_an_openblas_in_a_python_package_is_found(find: Find, tmp_path: Path) -> None:
    carried = library(tmp_path / "site-packages" / "opencv_python.libs" / "libopenblasp-r0-59ffcd50.3.15.so")
    assert find() == carried


def test_an_openblas_in_the_loaders_cache_is_found(find: Find, tmp_path: Path) -> None:
    known = library(tmp_path / "lib" / "libopenblas.so.0")
    (tmp_path / "ld.so.cache").write_bytes(
        b"glibc\0libopenblas.so.0\0" + bytes(known) + b"\0libc.so.6\0/lib/libc.so.6\0"
    )
    assert find() == known


def test_the_first_library_in_search_order_is_found(find: Find, tmp_path: Path) -> None:
    library(tmp_path / "site-packages" / "opencv_python.libs" / "libopenblasp-r0-59ffcd50.3.15.so")
    of_environment = library(tmp_path / "environment" / "lib" / "libopenblas.so.0")
    assert find() == of_environment
    of_user = library(tmp_path / "mine" / "libopenblas.so")
    assert find({"LD_LIBRARY_PATH": f"relative:{tmp_path / 'mine'}"}) == of_user


@pytest.mark.parametrize(
    "name",
    [
        "libscipy_openblas-6cdc3b4a.so",
        "libopenblas64_p-r0-0cf96a72.3.23.so",
        "libopenblas64.so.0",
        "libopenblas_ilp64.so.0",
        "libopenblaso.so.0",
        "libopenblas.a",
    ],
)
def test_an_openblas_with_other_symbols_integers_or_threads_is_ignored(find: Find, tmp_path: Path, name: str) -> None:
    library(tmp_path / "environment" / "lib" / name)
    assert find() is None


def test_the_target_of_a_link_decides(find: Find, tmp_path: Path) -> None:
    openmp = library(tmp_path / "openblas-openmp" / "libopenblas.so.0")
    link = tmp_path / "environment" / "lib" / "libopenblas.so.0"
    link.parent.mkdir(parents=True)
    link.symlink_to(openmp)
    assert find() is None
    link.unlink()
    link.symlink_to(library(tmp_path / "openblas-pthread" / "libopenblas.so.0"))
    assert find() == link


def test_an_openblas_for_another_machine_is_ignored(find: Find, tmp_path: Path) -> None:
    other_machine = HEAD[:18] + bytes(byte ^ 1 for byte in HEAD[18:])
    library(tmp_path / "environment" / "lib" / "libopenblas.so.0", other_machine)
    assert find() is None


def test_a_broken_link_is_ignored(find: Find, tmp_path: Path) -> None:
    (tmp_path / "environment" / "lib").mkdir(parents=True)
    (tmp_path / "environment" / "lib" / "libopenblas.so.0").symlink_to(tmp_path / "gone.so")
    assert find() is None


def test_a_path_that_the_loader_would_split_is_ignored(find: Find, tmp_path: Path) -> None:
    spaced = library(tmp_path / "my libraries" / "libopenblas.so.0")
    assert find({"LD_LIBRARY_PATH": str(spaced.parent)}) is None


def test_a_blas_that_the_user_preloads_is_not_replaced(find: Find, tmp_path: Path) -> None:
    library(tmp_path / "environment" / "lib" / "libopenblas.so.0")
    assert find({"LD_PRELOAD": "/opt/libmyblas.so"}) is None


def test_other_systems_preload_nothing(find: Find, tmp_path: Path) -> None:
    library(tmp_path / "environment" / "lib" / "libopenblas.so.0")
    assert find(platform="darwin") is None


def test_the_library_follows_those_of_the_user_and_has_one_thread() -> None:
    path = Path("/lib/libopenblas.so.0")
    assert preloading({}, path) == {
        "LD_PRELOAD": str(path),
        "OPENBLAS_NUM_THREADS": "1",
        "PICO_JUPYTER_PRELOADED": str(path),
    }
    assert preloading({"LD_PRELOAD": "/lib/libjemalloc.so"}, path)["LD_PRELOAD"] == f"/lib/libjemalloc.so {path}"


@pytest.mark.parametrize("name", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_the_users_number_of_threads_stays(name: str) -> None:
    assert "OPENBLAS_NUM_THREADS" not in preloading({name: "4"}, Path("/lib/libopenblas.so.0"))


STARTED = "INFO: checking the preloaded BLAS: /lib/libopenblas.so.0"


@pytest.mark.parametrize(
    ("output", "exit_status", "is_fault"),
    [
        ("ERROR: ld.so: object '/lib/x.so' from LD_PRELOAD cannot be preloaded (wrong ELF class): ignored.", 1, True),
        ("python: symbol lookup error: /lib/x.so: undefined symbol: f", 127, True),
        ("python: error while loading shared libraries: libgfortran.so.5: cannot open shared object file", 127, True),
        (f"{STARTED}\nERROR: wrong results of the preloaded BLAS: /lib/x.so", 1, True),
        (STARTED, -signal.SIGILL, True),
        (STARTED, -signal.SIGSEGV, True),
        (STARTED, -signal.SIGKILL, False),
        (STARTED, -signal.SIGTERM, False),
        (STARTED, None, False),
        (f"{STARTED}\nINFO: the preloaded BLAS works", -signal.SIGSEGV, False),
        ("python: symbol lookup error: /lib/x.so: undefined symbol: f", -signal.SIGKILL, False),
        ("no such thing as mlx", 1, False),
        ("", -signal.SIGKILL, False),
    ],
)
def test_a_library_is_at_fault_only_if_the_loader_or_the_check_reports_it(
    output: str, exit_status: int | None, is_fault: bool
) -> None:
    assert is_library_fault(output, exit_status) is is_fault


CHECK = """
import logging, os, sys
logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO, stream=sys.stdout)
from pico_jupyter.model_kernel.openblas import check_preloaded
check_preloaded(os.environ)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="preloading is for Linux")
def test_a_library_that_works_passes_its_check() -> None:
    library = find_openblas(os.environ)
    assert library is not None, "mlx-vlm brings one along"
    environ = {**os.environ, **preloading(os.environ, library)}
    done = subprocess.run([sys.executable, "-c", CHECK], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("INFO: the preloaded BLAS works\n")


def test_without_a_preloaded_library_nothing_is_checked() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=True)
    assert done.stdout == ""
