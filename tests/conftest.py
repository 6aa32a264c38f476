"""Configures the test run, and starts Jupyter servers for tests that need a real one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.e2e.running import RunningServer, running_server

# A shell without job control starts background jobs with SIGINT ignored, and every child process inherits that. Some
# tests interrupt themselves or their children with SIGINT, so Python's handler is restored here.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples have no deadline, because other processes can slow a test. CI runs the same examples each time, so that a
# failure comes from the change under test.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if "CI" in os.environ else "default")


# Tests that start processes or compute for seconds. `make check` leaves them out.
SLOW = (
    "browser",
    "builtin",
    "chat_kernel/test_jupyter_kernel.py",
    "chat_kernel/test_runners.py",
    "cli",
    "docs/test_build.py",
    "docs/test_examples.py",
    "e2e",
    "engine/backends",
    "engine/test_engine.py",
    "engine/test_local_client.py",
    "engine/test_local_client_start.py",
    "engine/test_vision_families.py",
    "engine/test_vision_models.py",
    "model_kernel/test_kernel.py",
    "model_kernel/test_launcher.py",
    "model_kernel/test_supervisor.py",
    "notebook/test_connection.py",
    "notebook/test_kernel.py",
    "notebook/test_magics.py",
    "notebook/test_nbval.py",
    "notebook/test_streams.py",
    "notebook/test_terminal.py",
    "notebooks/test_nbval.py",
    "panel/test_rendering.py",
    "real",
    "server/test_authorization.py",
    "server/test_extension.py",
    "sources/test_own_server.py",
    "sources/test_server_source.py",
    "test_init.py",
    "training",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server for a single test, which may break it."""
    with running_server(tmp_path) as running:
        yield running
