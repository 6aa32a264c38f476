"""Engines for the tests, with the real catalog and tokenizer and with real or fake backends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local_client import LocalEngineClient, client_of
from pico_jupyter.engine.memory.model_manager import LoadBackend
from pico_jupyter.engine.text.tokenizer import load_tokenizer
from pico_jupyter.types import EngineOptions, ModelInfo
from tests.engine.vision_bench import Bench
from tests.engine.vision_models import ALL_FAMILIES, build
from tests.fakes.backend import FakeClock
from tests.fakes.models import FakeModels

DEFAULTS = EngineOptions()


StartEngine = Callable[..., LocalEngineClient]


@pytest.fixture(scope="session")
def builtin() -> ModelInfo:
    return Catalog(EngineOptions(), environ={}, hub_cache=None).find("pico-tiny")


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory, builtin: ModelInfo) -> Path:
    """A folder with two copies of the built-in model."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("second", "third"):
        shutil.copytree(builtin.path, folder / name)
    return folder


@pytest.fixture
def fake_models(builtin: ModelInfo) -> FakeModels:
    return FakeModels(load_tokenizer(Path(builtin.path)))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def start(model_dir: Path) -> Iterator[StartEngine]:
    """Starts engines with the built-in model and its copies, and closes them after the test."""
    started: list[Engine] = []

    def start_engine(
        load_backend: LoadBackend | None = None, options: EngineOptions = DEFAULTS, **arguments: object
    ) -> LocalEngineClient:
        catalog = Catalog(EngineOptions(model_dirs=(str(model_dir),)), environ={}, hub_cache=None)
        if load_backend is not None:
            arguments["load_backend"] = load_backend
        engine = Engine(catalog, options, **arguments)  # type: ignore[arg-type]  # any argument of Engine
        engine.start()
        started.append(engine)
        return client_of(engine)

    yield start_engine
    for engine in started:
        engine.close()


@pytest.fixture(scope="session")
def vision_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model of each vision family."""
    root = tmp_path_factory.mktemp("vision")
    for family in ALL_FAMILIES:
        build(family, root / family)
    return root


@pytest.fixture(scope="session")
def benches(vision_dir: Path) -> dict[str, Bench]:
    catalog = Catalog(EngineOptions(model_dirs=(str(vision_dir),)), environ={}, hub_cache=None)
    return {family: Bench(catalog.find(family)) for family in ALL_FAMILIES}
