"""Which BLAS libraries are found, which are ignored, and how one is preloaded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pico_jupyter.model_kernel.blas import find_blas, preloading

HEAD = Path(sys.executable).read_bytes()[:20]
OPENCV = "site-packages/opencv_python.libs/libopenblasp-r0-59ffcd50.3.15.so"
Find = Callable[..., tuple[Path, ...]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """find_blas() on a machine that has only the files below tmp_path."""

    def found(
        environ: dict[str, str] | None = None, system: str = "linux", machine: str = "x86_64"
    ) -> tuple[Path, ...]:
        return find_blas(
            environ or {},
            system=system,
            machine=machine,
            prefixes=[str(tmp_path / "environment"), str(tmp_path / "user")],
            packages=[str(tmp_path), str(tmp_path / "site-packages")],
            loader_cache=tmp_path / "ld.so.cache",
        )

    return found


def library(path: Path, head: bytes = HEAD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head)
    return path


def test_a_machine_without_a_blas_preloads_nothing(find: Find) -> None:
    assert find() == ()


def test_an_openblas_in_a_python_package_is_found(find: Find, tmp_path: Path) -> None:
    carried = library(tmp_path / OPENCV)
    assert find() == (carried,)


def test_an_openblas_in_the_loaders_cache_is_found(find: Find, tmp_path: Path) -> None:
    known = library(tmp_path / "lib" / "libopenblas.so.0")
    (tmp_path / "ld.so.cache").write_bytes(
        b"glibc\0libopenblas.so.0\0" + bytes(known) + b"\0libc.so.6\0/lib/libc.so.6\0"
    )
    assert find() == (known,)


def test_the_newest_openblas_is_preferred(find: Find, tmp_path: Path) -> None:
    library(tmp_path / "site-packages" / "older.libs" / "libopenblasp-r0-0cf96a72.3.9.so")
    carried = library(tmp_path / OPENCV)
    assert find() == (carried,)
    newer = library(tmp_path / "environment" / "lib" / "libopenblasp-r0.3.30.so")
    link = newer.with_name("libopenblas.so.0")
    link.symlink_to(newer)
    assert find() == (link,), "the version is that of the target of a link"


def test_of_equal_versions_the_first_in_search_order_is_preferred(find: Find, tmp_path: Path) -> None:
    library(tmp_path / "user" / "lib" / "libmkl_rt.so.3")
    of_environment = library(tmp_path / "environment" / "lib" / "libmkl_rt.so.3")
    assert find() == (of_environment,)


def test_the_users_folders_are_preferred_to_a_newer_version(find: Find, tmp_path: Path) -> None:
    library(tmp_path / OPENCV)
    of_user = library(tmp_path / "mine" / "libopenblas.so")
    assert find({"LD_LIBRARY_PATH": f"relative:{tmp_path / 'mine'}"}) == (of_user,)


def test_mkl_is_preferred_to_blis_and_blis_to_openblas(find: Find, tmp_path: Path) -> None:
    openblas = library(tmp_path / "mine" / "libopenblas.so")
    blis = library(tmp_path / "environment" / "lib" / "libblis.so.4")
    mkl = library(tmp_path / "user" / "lib" / "libmkl_rt.so.3")
    environ = {"LD_LIBRARY_PATH": str(tmp_path / "mine")}
    assert find(environ) == (mkl, blis, openblas)
    assert find(environ, machine="aarch64") == (mkl, openblas, blis), "BLIS was measured on x86-64 only"


@pytest.mark.parametrize("name", ["libblis.so.4", "libmkl_rt.so"])
def test_every_kind_is_found_in_the_loaders_cache(find: Find, tmp_path: Path, name: str) -> None:
    known = library(tmp_path / "lib" / name)
    (tmp_path / "ld.so.cache").write_bytes(b"glibc\0" + bytes(known) + b"\0libc.so.6\0/lib/libc.so.6\0")
    assert find() == (known,)


@pytest.mark.parametrize(
    "name",
    [
        "libscipy_openblas-6cdc3b4a.so",
        "libopenblas64_p-r0-0cf96a72.3.23.so",
        "libopenblas64.so.0",
        "libopenblas_ilp64.so.0",
        "libopenblaso.so.0",
        "libopenblas.a",
        "libmkl_core.so.3",
        "libblis.a",
    ],
)
def test_a_library_with_other_symbols_integers_or_threads_is_ignored(find: Find, tmp_path: Path, name: str) -> None:
    library(tmp_path / "environment" / "lib" / name)
    assert find() == ()


def test_a_blis_with_64_bit_integers_is_ignored(find: Find, tmp_path: Path) -> None:
    wide = library(tmp_path / "blis64-pthread" / "libblis64.so.4")
    assert find({"LD_LIBRARY_PATH": str(wide.parent)}) == ()


def test_the_target_of_a_link_decides(find: Find, tmp_path: Path) -> None:
    openmp = library(tmp_path / "openblas-openmp" / "libopenblas.so.0")
    link = tmp_path / "environment" / "lib" / "libopenblas.so.0"
    link.parent.mkdir(parents=True)
    link.symlink_to(openmp)
    assert find() == ()
    link.unlink()
    link.symlink_to(library(tmp_path / "openblas-pthread" / "libopenblas.so.0"))
    assert find() == (link,)


def test_an_openblas_for_another_machine_is_ignored(find: Find, tmp_path: Path) -> None:
    other_machine = HEAD[:18] + bytes(byte ^ 1 for byte in HEAD[18:])
    library(tmp_path / "environment" / "lib" / "libopenblas.so.0", other_machine)
    assert find() == ()


def test_a_broken_link_is_ignored(find: Find, tmp_path: Path) -> None:
    (tmp_path / "environment" / "lib").mkdir(parents=True)
    (tmp_path / "environment" / "lib" / "libopenblas.so.0").symlink_to(tmp_path / "gone.so")
    assert find() == ()


def test_a_path_that_the_loader_would_split_is_ignored(find: Find, tmp_path: Path) -> None:
    spaced = library(tmp_path / "my libraries" / "libopenblas.so.0")
    assert find({"LD_LIBRARY_PATH": str(spaced.parent)}) == ()


@pytest.mark.parametrize("preloaded", ["/opt/libmyblas.so", "/opt/a.so:/opt/libmkl_rt.so.2", "libblis.so.4"])
def test_a_blas_that_the_user_preloads_is_not_replaced(find: Find, tmp_path: Path, preloaded: str) -> None:
    library(tmp_path / "environment" / "lib" / "libopenblas.so.0")
    assert find({"LD_PRELOAD": preloaded}) == ()


def test_another_library_that_the_user_preloads_does_not_count(find: Find, tmp_path: Path) -> None:
    found = library(tmp_path / "environment" / "lib" / "libopenblas.so.0")
    assert find({"LD_PRELOAD": "/opt/libpublish.so"}) == (found,)


def test_other_systems_preload_nothing(find: Find, tmp_path: Path) -> None:
    library(tmp_path / "environment" / "lib" / "libopenblas.so.0")
    assert find(system="darwin") == ()


def test_the_library_follows_those_of_the_user_and_has_one_thread() -> None:
    path = Path("/lib/libopenblas.so.0")
    assert preloading({}, path) == {
        "LD_PRELOAD": str(path),
        "OPENBLAS_NUM_THREADS": "1",
        "PICO_JUPYTER_PRELOADED": str(path),
    }
    assert preloading({"LD_PRELOAD": "/lib/libjemalloc.so"}, path)["LD_PRELOAD"] == f"/lib/libjemalloc.so {path}"


def test_mkl_has_one_thread_and_32_bit_integers() -> None:
    variables = preloading({"MKL_INTERFACE_LAYER": "ILP64", "KMP_BLOCKTIME": "7"}, Path("/lib/libmkl_rt.so.3"))
    assert variables["MKL_NUM_THREADS"] == "1"
    assert variables["MKL_THREADING_LAYER"] == "SEQUENTIAL"
    assert variables["MKL_INTERFACE_LAYER"] == "LP64"
    assert "KMP_BLOCKTIME" not in variables, "the user's value stays"


def test_threads_of_mkl_that_the_user_asks_for_sleep_between_products() -> None:
    variables = preloading({"MKL_NUM_THREADS": "4"}, Path("/lib/libmkl_rt.so.3"))
    assert variables["KMP_BLOCKTIME"] == "0"
    assert "MKL_THREADING_LAYER" not in variables


@pytest.mark.parametrize(
    ("file", "variable"),
    [
        ("libopenblas.so.0", "OPENBLAS_NUM_THREADS"),
        ("libblis.so.4", "BLIS_NUM_THREADS"),
        ("libmkl_rt.so.3", "MKL_NUM_THREADS"),
    ],
)
def test_the_users_number_of_threads_stays(file: str, variable: str) -> None:
    library = Path("/lib") / file
    assert preloading({}, library)[variable] == "1"
    assert variable not in preloading({variable: "4"}, library)
    assert variable not in preloading({"OMP_NUM_THREADS": "4"}, library)
