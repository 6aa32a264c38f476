"""Checks the preloaded BLAS library at the start of the model kernel, and detects starts that it made fail."""

from __future__ import annotations

import ctypes
import logging
import re
import signal
import sys
from collections.abc import Mapping

from pico_jupyter.model_kernel import wire

LOADER_ERROR = re.compile(
    "cannot be preloaded|error while loading shared libraries|symbol lookup error|undefined symbol"
)
CHECK_STARTED = "checking the preloaded BLAS:"
CHECK_FAILED = "wrong results of the preloaded BLAS:"
CHECK_PASSED = "the preloaded BLAS works"
KILLS = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT) if sys.platform != "win32" else ()
SIZE = 64

log = logging.getLogger("pico_jupyter")


def is_library_fault(output: str, exit_status: int | None) -> bool:
    """Whether the preloaded library is the reason why a kernel did not start.

    The library is at fault if the loader reports an error, or if the process ended in check_preloaded(): by a wrong
    result, by a crash (a library built for another processor crashes with SIGILL), or by an exit (MKL exits if one of
    its files is missing). It is not at fault if the kernel was killed from outside.
    """
    if exit_status is None or exit_status in KILLS:
        return False
    is_incomplete = CHECK_STARTED in output and CHECK_PASSED not in output
    return is_incomplete or CHECK_FAILED in output or LOADER_ERROR.search(output) is not None


def check_preloaded(environ: Mapping[str, str]) -> None:
    """Multiply matrices with the BLAS that this process has preloaded. A wrong result ends the process."""
    library = environ.get(wire.PRELOADED_VARIABLE)
    multiply = getattr(ctypes.CDLL(None), "cblas_sgemm", None) if library else None
    if multiply is None:
        return
    log.info("%s %s", CHECK_STARTED, library)
    # Products with one row have their own code in most libraries.
    if not all(_is_product_right(multiply, rows) for rows in (1, SIZE)):
        log.error("%s %s", CHECK_FAILED, library)
        sys.exit(1)
    log.info(CHECK_PASSED)


def _is_product_right(multiply: ctypes._NamedFuncPointer, rows: int) -> bool:
    n = SIZE
    left, right = (ctypes.c_float * (rows * n))(*[1.0] * (rows * n)), (ctypes.c_float * (n * n))(*[1.0] * (n * n))
    product = (ctypes.c_float * (rows * n))()
    one, zero = ctypes.c_float(1.0), ctypes.c_float(0.0)
    # Row-major; the right matrix is transposed, as a layer's weights are.
    multiply(101, 111, 112, rows, n, n, one, left, n, right, n, zero, product, n)
    return list(product) == [float(n)] * (rows * n)
