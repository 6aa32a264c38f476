"""Defines the settings of the engine. Users set them as `c.PicoJupyter.NAME` in their Jupyter configuration.

The server extension and the command line share them, so both start a model kernel with the same options.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jupyter_core.application import JupyterApp
from traitlets import Bool, Dict, Enum, Float, Int, List, TraitError, Unicode, validate
from traitlets.config import Config, Configurable

from pico_jupyter.dialects.durations import parse_go_duration
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.model_kernel.blas import find_blas
from pico_jupyter.model_kernel.kernel_events import KernelEvent
from pico_jupyter.model_kernel.launcher import Log
from pico_jupyter.model_kernel.supervisor import ModelKernel
from pico_jupyter.types import EngineOptions


class EngineConfiguration(Configurable):  # type: ignore[misc]  # traitlets is imported without its types
    """The settings of the engine and its model kernel. The server extension inherits them."""

    model_dirs = List(
        Unicode(),
        config=True,
        help="Folders that contain models, as NAME/ or ORG/NAME/ with config.json and safetensors files. The Hugging "
        "Face cache, the folders in PICO_JUPYTER_MODEL_PATH and the built-in models are always listed.",
    )
    keep_alive = Unicode(
        "5m",
        config=True,
        help='How long an unused model stays in memory: "5m", "1h30m", a number of seconds, or "-1" for no limit. '
        "The keep_alive of a request has precedence.",
    )
    memory_budget = Int(
        0,
        min=0,
        config=True,
        help="Bytes for all resident models and their caches. When a model needs more, the least recently used idle "
        "model is unloaded. 0: a share of the device's memory.",
    )
    max_queue = Int(128, min=0, config=True, help="Maximum number of waiting requests. Further ones get status 503.")
    queue_timeout = Float(
        600.0, min=0.0, config=True, help="Seconds that a request may wait in the queue before it gets status 503."
    )
    max_batch_size = Int(32, min=1, config=True, help="Maximum number of answers generated at once.")
    kv_bits = Enum(
        [0, 4, 8],
        0,
        config=True,
        help="Bits per number in KV caches. 8 and 4 save memory and reduce precision. 0: the model's own precision.",
    )
    draft_models = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        config=True,
        help="Maps a model's name to its draft model: a smaller model with the same tokenizer, used while a "
        "single answer is generated. The draft_model of a request has precedence.",
    )
    float32_on_cpu = Bool(
        True,
        config=True,
        help="Without a GPU, compute models with 16-bit weights in float32 if the memory suffices. This takes twice "
        "the memory and is many times faster.",
    )
    openblas = Bool(
        True,
        config=True,
        help="On Linux, preload MKL, BLIS or OpenBLAS into the model kernel, if one is found, to replace the slow BLAS "
        "of mlx.",
    )
    max_image_pixels = Int(
        64 * 1024 * 1024,
        min=1,
        config=True,
        help="Maximum number of pixels of an image or a video frame. Larger ones are refused.",
    )
    video_fps = Float(2.0, min=0.01, config=True, help="Frames that are sampled per second of a video.")
    max_video_frames = Int(64, min=1, config=True, help="Maximum number of frames that are sampled from a video.")
    max_media_tokens = Int(
        16384,
        min=1,
        config=True,
        help="Maximum number of tokens for all images and videos of one prompt together.",
    )
    generic_tools = Bool(
        True,
        config=True,
        help="Accept tools for every chat model. If a chat template has no place for them, they are described in the "
        "system message. False: such a model refuses a request with tools, with status 400.",
    )

    @validate("keep_alive")  # type: ignore[untyped-decorator]  # mypy does not follow traitlets here
    def _check_keep_alive(self, proposal: dict[str, Any]) -> str:
        try:
            parse_go_duration(proposal["value"])
        except InvalidRequest as error:
            raise TraitError(f"keep_alive: {error.message}") from None
        return str(proposal["value"])

    @property
    def engine_options(self) -> EngineOptions:
        """The settings, converted to EngineOptions."""
        keep_alive = parse_go_duration(self.keep_alive)
        return EngineOptions(
            model_dirs=tuple(self.model_dirs),
            keep_alive=math.inf if keep_alive < 0 else keep_alive,
            max_batch_size=self.max_batch_size,
            max_queue=self.max_queue,
            memory_budget=self.memory_budget,
            queue_timeout=self.queue_timeout,
            kv_bits=self.kv_bits,
            float32_on_cpu=self.float32_on_cpu,
            draft_models=dict(self.draft_models),
            max_image_pixels=self.max_image_pixels,
            max_video_frames=self.max_video_frames,
            video_fps=self.video_fps,
            max_media_tokens=self.max_media_tokens,
            generic_tools=self.generic_tools,
        )

    def model_kernel(self, log: Log, on_event: Callable[[KernelEvent], None] = lambda _: None) -> ModelKernel:
        """Return a model kernel with these settings.

        Its process starts at the first generation or question. ListResident and ReadStatistics do not start it.
        """
        find = find_blas if self.openblas else _find_no_library
        return ModelKernel(self.engine_options, log=log, on_event=on_event, find_blas=find)


class _ConfigurationReader(JupyterApp):
    """Reads the configuration files of a Jupyter server, without importing the server."""

    name = "jupyter-pico"
    config_file_name = "jupyter_server_config"


def read_user_configuration() -> EngineConfiguration:
    """Return the settings that a Jupyter server of this user would have."""
    reader = _ConfigurationReader()
    reader.load_config_file()
    return EngineConfiguration(config=Config({EngineConfiguration.__name__: reader.config["PicoJupyter"]}))


def _find_no_library(environ: Mapping[str, str]) -> tuple[Path, ...]:
    return ()
