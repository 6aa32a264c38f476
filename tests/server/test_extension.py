"""The extension in its server: configuration, start and end."""

from __future__ import annotations

import asyncio
import logging
import math
import subprocess
import sys

import pytest
from traitlets import TraitError
from traitlets.config import Config

from pico_jupyter.configuration import EngineConfiguration
from pico_jupyter.server.extension import PicoJupyter
from pico_jupyter.types import EngineOptions
from tests.server.conftest import TOKEN, RunningServer, StartServer


def configured(**traits: object) -> PicoJupyter:
    return PicoJupyter(config=Config({"PicoJupyter": traits}))


def test_without_configuration_the_engine_has_its_defaults() -> None:
    assert configured().engine_options == EngineOptions()


def test_the_configuration_reaches_the_engine() -> None:
    options = configured(
        model_dirs=["a", "b"],
        keep_alive="1h",
        memory_budget=5,
        max_queue=6,
        max_batch_size=7,
        queue_timeout=8.0,
        kv_bits=4,
        float32_on_cpu=False,
        draft_models={"big": "small"},
        max_image_pixels=9,
        max_video_frames=10,
        video_fps=1.5,
        max_media_tokens=11,
        generic_tools=False,
    ).engine_options
    assert options == EngineOptions(
        model_dirs=("a", "b"),
        keep_alive=3600.0,
        memory_budget=5,
        max_queue=6,
        max_batch_size=7,
        queue_timeout=8.0,
        kv_bits=4,
        float32_on_cpu=False,
        draft_models={"big": "small"},
        max_image_pixels=9,
        max_video_frames=10,
        video_fps=1.5,
        max_media_tokens=11,
        generic_tools=False,
    )
    settings = set(EngineOptions.__struct_fields__) & set(EngineConfiguration.class_trait_names(config=True))
    assert len(settings) > 10
    same = {name for name in settings if getattr(options, name) == getattr(EngineOptions(), name)}
    assert same == set(), "each setting is in the list above and is copied"


@pytest.mark.parametrize(("written", "seconds"), [("90", 90.0), ("1m30s", 90.0), ("0", 0.0), ("-1", math.inf)])
def test_keep_alive_is_written_as_in_a_request(written: str, seconds: float) -> None:
    assert configured(keep_alive=written).engine_options.keep_alive == seconds


@pytest.mark.parametrize(
    "traits",
    [
        {"keep_alive": "soon"},
        {"ollama_version": "0.6.3"},
        {"ollama_version": "0.20.0rc1"},
        {"ollama_version": "9"},
        {"reasoning_output": "loud"},
        {"structured_outputs": "always"},
        {"openai_stream_default": "ollama"},
        {"max_queue": -1},
        {"max_batch_size": 0},
        {"keepalive_after": 0.0},
        {"queue_timeout": -1.0},
        {"kv_bits": 3},
        {"draft_models": {"big": 1}},
        {"max_request_bytes": 0},
        {"max_media_bytes": 0},
        {"media_timeout": 0.0},
        {"video_fps": 0.0},
        {"max_video_frames": 0},
    ],
)
def test_an_invalid_value_is_refused(traits: dict[str, object]) -> None:
    with pytest.raises(TraitError):
        configured(**traits)


def test_every_trait_has_a_help_text_and_there_are_few() -> None:
    options = PicoJupyter.class_own_traits(config=True)
    assert len(options) <= 23
    assert all(trait.help for trait in options.values())


async def test_the_start_logs_the_endpoints_and_no_token(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start_server(base_url="/user/ann/", started=False)
    server.extension.log.addHandler(caplog.handler)
    server.extension.log.setLevel(logging.INFO)
    await server.app.extension_manager.start_all_extensions()
    server.extension.log.removeHandler(caplog.handler)
    [line] = {record.getMessage() for record in caplog.records if "OpenAI clients" in record.getMessage()}
    assert "/user/ann/v1" in line
    assert "/user/ann/pico" in line
    assert TOKEN not in line


async def test_stopping_the_extension_closes_the_engine(server: RunningServer) -> None:
    await server.extension.stop_extension()
    assert server.engine.closed


async def test_an_engine_that_does_not_stop_does_not_keep_the_server_running(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.extension.stop_seconds = 0.01
    server.engine.closing = asyncio.Event()
    await server.extension.stop_extension()
    assert "did not stop within 0.01 s" in caplog.text


async def test_an_engine_that_fails_to_stop_does_not_keep_the_server_running(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.engine.closing = AttributeError("'NoneType' object has no attribute 'kill'")
    await server.extension.stop_extension()
    assert "stopping the engine failed" in caplog.text


async def test_the_server_is_idle_when_nothing_is_generated(server: RunningServer) -> None:
    assert server.extension.current_activity() is False
    assert repr(server.extension.context) == "<ServerContext <ScriptedEngine [0 asked]> [0 running]>"


IMPORTED = """
import sys
import pico_jupyter.server.extension
heavy = {"mlx", "mlx_lm", "mlx_vlm", "transformers", "numpy", "torch", "huggingface_hub", "ipywidgets"}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_server_process_imports_nothing_heavy() -> None:
    printed = subprocess.run([sys.executable, "-c", IMPORTED], check=True, capture_output=True, text=True)
    assert printed.stdout.strip() == "[]"
