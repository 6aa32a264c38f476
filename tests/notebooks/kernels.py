"""What kernels that this process starts find behind them: a Jupyter server, or none."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.running import RunningServer, running_server


@contextlib.contextmanager
def server_behind_kernels(folder: Path) -> Iterator[RunningServer]:
    """Kernels find a server as its own children do: by the file that bears their parent's process id."""
    with no_server_behind_kernels(folder), running_server(folder) as server:
        info = folder / "runtime" / f"jpserver-{server.process.pid}.json"
        shutil.copy(info, info.with_name(f"jpserver-{os.getpid()}.json"))
        yield server


@contextlib.contextmanager
def no_server_behind_kernels(folder: Path) -> Iterator[None]:
    """Kernels find no server, and the models that come with the package only."""
    before = dict(os.environ)
    for name in ("PICO_JUPYTER_URL", "PICO_JUPYTER_MODEL_PATH"):
        os.environ.pop(name, None)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(folder / "runtime")
    os.environ["HF_HUB_CACHE"] = str(folder / "no-models")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
