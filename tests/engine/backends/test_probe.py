"""The measurement of mlx in a separate process."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from pico_jupyter.engine.backends.probe import Speed, loaded_blas


def test_the_probe_prints_json() -> None:
    command = [sys.executable, "-m", "pico_jupyter.engine.backends.probe"]
    printed = subprocess.run(command, check=True, capture_output=True).stdout
    speed = msgspec.json.decode(printed, type=Speed)
    assert "Device" in speed.device
    assert speed.float32 > 0
    assert speed.bfloat16 > 0
    assert 0 < speed.decode <= speed.memory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the libraries of a process")
def test_the_blas_of_mlx_is_named() -> None:
    import mlx.core as mx  # noqa: PLC0415  # loads the library

    mx.eval(mx.ones(1))
    assert any("blas" in path for path in loaded_blas())
    assert all(path.startswith("/") for path in loaded_blas())
