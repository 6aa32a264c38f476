"""For the pytest that runs notebooks, which fixtures do not reach: a Jupyter server behind their kernels, or none."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.notebooks.kernels import no_server_behind_kernels, server_behind_kernels


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--jupyter-server", action="store_true", help="start a Jupyter server for the notebooks' kernels")


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run all notebooks with the server running, or with none."""
    around = server_behind_kernels if session.config.getoption("--jupyter-server") else no_server_behind_kernels
    with tempfile.TemporaryDirectory() as folder, around(Path(folder)):
        return (yield)
