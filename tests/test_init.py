"""Which modules an import of the package loads."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

HEAVY = ("mlx", "mlx_lm", "mlx_vlm", "transformers", "tornado", "jupyter_server", "ipykernel", "numpy")
ENGINE = ("mlx", "mlx_lm", "transformers", "pico_jupyter.engine")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, pico_jupyter; print([name for name in {HEAVY} if name in sys.modules])"
    assert _run(code) == "[]"


def test_the_server_extension_loads_no_engine() -> None:
    code = (
        "import sys, pico_jupyter.server.extension, pico_jupyter.model_kernel.supervisor;"
        f"print([name for name in {ENGINE} if name in sys.modules])"
    )
    assert _run(code) == "[]"


@pytest.mark.parametrize("name", sorted({*HEAVY, *ENGINE}))
def test_every_heavy_module_of_the_list_exists(name: str) -> None:
    assert find_spec(name) is not None


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
