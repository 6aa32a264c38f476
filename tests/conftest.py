"""Configures the test run, and starts Jupyter servers for tests that need a real one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from pico_jupyter.engine.catalog.catalog import BUILTIN_DIR
from tests.e2e.running import RunningServer, running_server
from tests.fakes.hub import FakeHub, HubRepo, running_hub
from tests.property_examples import IN_CI, examples

# A shell without job control starts background jobs with SIGINT ignored, and every child process inherits that. Some
# tests interrupt themselves or their children with SIGINT, so Python's handler is restored here.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples have no deadline, because other processes can slow a test. CI runs the same examples each time, so that a
# failure comes from the change under test.
hypothesis.settings.register_profile("pico", deadline=None, derandomize=IN_CI, max_examples=examples(100))
hypothesis.settings.load_profile("pico")


# Tests that start processes or compute for seconds. `make check` leaves them out.
SLOW = (
    "browser",
    "builtin",
    "chat_kernel/test_jupyter_kernel.py",
    "chat_kernel/test_runners.py",
    "cli",
    "docs/test_build.py",
    "docs/test_clients.py",
    "docs/test_examples.py",
    "e2e",
    "downloads/test_faults.py",
    "downloads/test_manager.py",
    "engine/backends",
    "engine/preparation/test_media_preparation.py",
    "engine/test_embeddings.py",
    "engine/test_engine.py",
    "engine/test_local_client.py",
    "engine/test_local_client_start.py",
    "engine/test_structured_answers.py",
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
    "sources/test_model_getter.py",
    "sources/test_own_server.py",
    "sources/test_server_source.py",
    "test_init.py",
    "training",
)


def is_slow(path: Path) -> bool:
    here = Path(__file__).parent
    return path.is_relative_to(here) and path.relative_to(here).as_posix().startswith(SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import the slow tests if they are not selected. Their imports take as long as the fast tests."""
    return True if config.getoption("markexpr") == "not slow" and is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests."""
    for item in items:
        if is_slow(item.path):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def hub() -> Iterator[FakeHub]:
    """A hub with one small model, for servers of this test run."""
    with running_hub(FakeHub(HubRepo("mlx-community/small-4bit", BUILTIN_DIR / "pico-tiny"))) as hub:
        yield hub


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, hub: FakeHub) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    environ = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(folder / "hub")}
    with running_server(folder, environ=environ) as running:
        yield running


@pytest.fixture(scope="session")
def embedding_server(tmp_path_factory: pytest.TempPathFactory, hub: FakeHub) -> Iterator[RunningServer]:
    """A server that also has the random embedding model tiny-embed."""
    from tests.engine.embedding_models import write_bert  # noqa: PLC0415  # imports mlx, which fast tests do not need

    folder = tmp_path_factory.mktemp("embedding")
    write_bert(folder / "models" / "tiny-embed")
    environ = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(folder / "hub")}
    with running_server(folder, f"--PicoJupyter.model_dirs={folder / 'models'}", environ=environ) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server for a single test, which may break it."""
    with running_server(tmp_path) as running:
        yield running
