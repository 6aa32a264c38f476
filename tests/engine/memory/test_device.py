"""The memory budget of the device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from pico_jupyter.engine.memory.device import device_budget, limit_wired_memory, wired_limit

RAM = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
on_a_cpu = pytest.mark.skipif(
    mx.default_device().type != mx.DeviceType.cpu, reason="a GPU has its own memory, without cgroups"
)


def test_the_budget_is_positive() -> None:
    assert device_budget() > 0


@on_a_cpu
def test_the_budget_is_a_share_of_the_memory(tmp_path: Path) -> None:
    assert device_budget(tmp_path / "none") == int(0.6 * RAM)


@on_a_cpu
def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    assert device_budget(tmp_path / "memory.max") == 600_000


@on_a_cpu
def test_max_in_a_cgroup_is_no_limit(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert device_budget(tmp_path / "memory.max") == int(0.6 * RAM)


@pytest.mark.parametrize(("weights", "wired"), [(0, 0), (70, 70), (100, 100), (130, 100)])
def test_the_weights_are_wired_up_to_the_recommended_maximum(weights: int, wired: int) -> None:
    assert wired_limit(weights, recommended=100) == wired


@on_a_cpu
def test_without_metal_nothing_is_wired() -> None:
    limit_wired_memory(1 << 30)


FREES_MEMORY = """
from pathlib import Path
from pico_jupyter.engine.memory.device import release_free_memory
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
kept = [bytearray(b"x") * 200_000 for _ in range(500)]
del kept[:-1]
before = resident()
release_free_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps freed memory")
def test_freed_memory_below_memory_in_use_is_returned_to_the_system() -> None:
    environ = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1073741824"}
    done = subprocess.run([sys.executable, "-c", FREES_MEMORY], env=environ, capture_output=True, check=True)
    assert int(done.stdout) > 50_000_000
