"""The self-check of the preloaded BLAS, and which failed starts are its fault."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pico_jupyter.model_kernel.blas import find_blas, preloading
from pico_jupyter.model_kernel.blas_check import is_library_fault

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
        (f"{STARTED}\nIntel oneMKL FATAL ERROR: Cannot load libmkl_core.so.3.", 2, True),
        (f"{STARTED}\nIntel oneMKL FATAL ERROR: Cannot load libmkl_core.so.3.", -signal.SIGKILL, False),
        (f"{STARTED}\nINFO: the preloaded BLAS works", -signal.SIGSEGV, False),
        (f"{STARTED}\nINFO: the preloaded BLAS works\nno such thing as mlx", 1, False),
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
from pico_jupyter.model_kernel.blas_check import check_preloaded
check_preloaded(os.environ)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="preloading is for Linux")
def test_a_library_that_works_passes_its_check() -> None:
    libraries = find_blas(os.environ)
    assert libraries, "mlx-vlm brings one along"
    for library in libraries:
        environ = {**os.environ, **preloading(os.environ, library)}
        done = subprocess.run([sys.executable, "-c", CHECK], env=environ, capture_output=True, text=True, check=True)
        assert done.stdout.endswith("INFO: the preloaded BLAS works\n")


def test_without_a_preloaded_library_nothing_is_checked() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=True)
    assert done.stdout == ""
