"""The settings of glibc's malloc for the model kernel."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pico_jupyter.model_kernel.heap_tuning import TUNABLES, heap_tuning

TUNED = {"GLIBC_TUNABLES": TUNABLES}


@pytest.mark.parametrize("libc", ["glibc 2.35", "glibc 2.36", "glibc 2.41.9000", "glibc 3.0"])
def test_malloc_is_tuned_with_a_glibc_that_knows_the_settings(libc: str) -> None:
    assert heap_tuning({"A": "b"}, libc) == TUNED


@pytest.mark.parametrize("libc", ["glibc 2.34", "glibc 2.9", "musl 1.2", ""])
def test_malloc_is_not_tuned_with_another_c_library(libc: str) -> None:
    assert heap_tuning({}, libc) == {}


@pytest.mark.parametrize(
    "environ",
    [
        {"GLIBC_TUNABLES": "glibc.malloc.check=1"},
        {"GLIBC_TUNABLES": ""},
        {"MALLOC_TOP_PAD_": "1"},
        {"MALLOC_MMAP_THRESHOLD_": "1"},
    ],
)
def test_the_users_settings_of_malloc_stay(environ: dict[str, str]) -> None:
    assert heap_tuning(environ, "glibc 2.36") == {}


@pytest.mark.skipif(sys.platform != "linux" or not heap_tuning({}), reason="only glibc 2.35 and newer are tuned")
def test_large_memory_comes_from_the_heap_with_the_settings() -> None:
    """The loader ignores names that it does not know. So the test looks for their effect in a process."""
    code = "kept = bytearray(64 << 20); print(any('[heap]' in line and size(line) > 64 << 20 for line in open(MAPS)))"
    prelude = "MAPS = '/proc/self/maps'; size = lambda line: -eval('0x' + line.split()[0].replace('-', '-0x'))\n"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | TUNED
    done = subprocess.run([sys.executable, "-c", prelude + code], env=environ, capture_output=True, check=True)
    assert done.stdout == b"True\n"
