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
    with running_server(folder) as server, no_server_behind_kernels(folder / "runtime"):
        info = folder / "runtime" / f"jpserver-{server.process.pid}.json"
        shutil.copy(info, info.with_name(f"jpserver-{os.getpid()}.json"))
        yield server


@contextlib.contextmanager
def no_server_behind_kernels(runtime: Path) -> Iterator[None]:
    """Kernels find what is in the folder `runtime`, which is nothing."""
    before = dict(os.environ)
    os.environ.pop("PICO_JUPYTER_URL", None)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(runtime)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
