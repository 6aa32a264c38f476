"""Jupyter servers for the tests that want a real one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.e2e.running import RunningServer, running_server

# A shell without job control starts background jobs with SIGINT ignored, and every child process inherits that. Tests
# interrupt themselves and their children, so SIGINT gets Python's handler however the suite was started.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadlines: machines are noisy. CI runs the same examples each time, so that a red run is about its change.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if "CI" in os.environ else "default")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that a test may break."""
    with running_server(tmp_path) as running:
        yield running
