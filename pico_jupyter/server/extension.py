"""The Jupyter server extension: configuration, endpoints, and the engine's life. Knows no dialect's fields."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import Bool, Dict, Enum, Float, Int, List, TraitError, Unicode, validate

from pico_jupyter.client import EngineClient
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.durations import parse_go_duration
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.model_kernel.launcher import Log
from pico_jupyter.model_kernel.news import KernelNews
from pico_jupyter.model_kernel.openblas import find_openblas
from pico_jupyter.model_kernel.supervisor import ModelKernel
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.download import Downloader
from pico_jupyter.server.events import emit, register_schemas
from pico_jupyter.server.media_sources import MediaSources
from pico_jupyter.server.routes import fallback_rules, rules
from pico_jupyter.types import EngineOptions

STOP_SECONDS = 10.0
OLDEST_OLLAMA = (0, 6, 4)


class PicoJupyter(ExtensionApp):
    """Local language models behind OpenAI's and Ollama's endpoints of this Jupyter server."""

    name = "pico_jupyter"
    description = __doc__
    load_other_extensions = True

    default_model = Unicode(
        "", config=True, help="The model of requests that name none. Empty: such requests are refused."
    )
    model_dirs = List(
        Unicode(),
        config=True,
        help="Folders with models below: NAME/ or ORG/NAME/ with config.json and safetensors. The Hugging Face cache, "
        "the folders in PICO_JUPYTER_MODEL_PATH and the built-in models are always listed.",
    )
    keep_alive = Unicode(
        "5m",
        config=True,
        help='How long an unused model stays in memory: "5m", "1h30m", seconds, or "-1" for ever. A request\'s own '
        "keep_alive wins.",
    )
    memory_budget = Int(
        0,
        min=0,
        config=True,
        help="Bytes for all resident models and their caches; the least recently used idle model makes room. "
        "0: a share of the device's memory.",
    )
    max_queue = Int(128, min=0, config=True, help="How many requests may wait; one more is answered 503.")
    queue_timeout = Float(
        600.0, min=0.0, config=True, help="Seconds that a request may wait for its turn before it is answered 503."
    )
    max_batch_size = Int(32, min=1, config=True, help="How many answers are generated at once.")
    kv_bits = Enum(
        [0, 4, 8],
        0,
        config=True,
        help="Bits of a number in KV caches. 8 and 4 take less memory and are not exact; 0: as the model computes.",
    )
    draft_models = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        config=True,
        help="For a model, by name, the smaller model with the same tokens that drafts for it while a single answer is "
        "generated. A request's own draft_model wins.",
    )
    float32_on_cpu = Bool(
        True,
        config=True,
        help="Compute models of 16-bit weights in float32 where there is no GPU and memory allows: twice the memory, "
        "many times the speed.",
    )
    openblas = Bool(
        True,
        config=True,
        help="On Linux, preload an OpenBLAS into the model kernel when one is found, in place of mlx's slow BLAS.",
    )
    reasoning_output = Enum(
        ["separate", "inline", "auto"],
        "separate",
        config=True,
        help="Where thinking goes: into fields of its own (separate), into the content between <think> tags (inline), "
        "or into fields of its own where a request asks for that (auto).",
    )
    openai_stream_default = Enum(
        ["openai", "pico"],
        "openai",
        config=True,
        help="What an omitted `stream` means on v1/chat/completions: no stream, as OpenAI has it, or a stream, as on "
        "v1/chat. OpenAI's own clients omit it and break on a stream.",
    )
    ollama_version = Unicode(
        "0.20.0", config=True, help="What api/version claims. Clients want digits and dots, and at least 0.6.4."
    )
    max_request_bytes = Int(
        64 * 1024 * 1024, min=1, config=True, help="The largest body of a request, in bytes; beyond it is 413."
    )
    keepalive_after = Float(
        10.0,
        min=0.05,
        config=True,
        help="Seconds of silence after which a stream gets a keep-alive. Proxies cut connections that are silent.",
    )

    allow_remote_media = Bool(
        None,
        allow_none=True,
        config=True,
        help="Whether pictures and clips are fetched from http: and https: URLs in requests, from public addresses "
        "only. None: when this server asks for a token or a password.",
    )
    max_media_bytes = Int(
        50 * 1024 * 1024, min=1, config=True, help="Bytes of all pictures and clips that are fetched for one request."
    )
    media_timeout = Float(
        20.0, min=0.05, config=True, help="Seconds that fetching the pictures and clips of one request may take."
    )
    max_image_pixels = Int(
        64 * 1024 * 1024,
        min=1,
        config=True,
        help="Pixels that a picture, or a frame of a clip, may have; a larger one is refused.",
    )
    video_fps = Float(2.0, min=0.01, config=True, help="Frames a second that a model sees of a clip.")
    max_video_frames = Int(64, min=1, config=True, help="The most frames that a model sees of one clip.")
    max_media_tokens = Int(
        16384,
        min=1,
        config=True,
        help="Tokens that all pictures and clips of one prompt may take.",
    )

    @validate("keep_alive")  # type: ignore[untyped-decorator]  # mypy does not follow traitlets here
    def _check_keep_alive(self, proposal: dict[str, Any]) -> str:
        try:
            parse_go_duration(proposal["value"])
        except InvalidRequest as error:
            raise TraitError(f"keep_alive: {error.message}") from None
        return str(proposal["value"])

    @validate("ollama_version")  # type: ignore[untyped-decorator]  # mypy does not follow traitlets here
    def _check_ollama_version(self, proposal: dict[str, Any]) -> str:
        version = str(proposal["value"])
        if not re.fullmatch(r"\d+(\.\d+)+", version) or tuple(map(int, version.split("."))) < OLDEST_OLLAMA:
            raise TraitError("ollama_version: digits and dots, at least 0.6.4, because clients compare it")
        return version

    @property
    def engine_options(self) -> EngineOptions:
        """What this configuration says to the engine."""
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
        )

    def model_kernel(self, log: Log, on_news: Callable[[KernelNews], None] = lambda _: None) -> ModelKernel:
        """A model kernel that is configured so; it starts when it is needed."""
        find = find_openblas if self.openblas else _no_library
        return ModelKernel(self.engine_options, log=log, on_news=on_news, find_openblas=find)

    @property
    def dialect_settings(self) -> DialectSettings:
        """What this configuration says to the dialects."""
        return DialectSettings(
            default_model=self.default_model,
            openai_stream_default=self.openai_stream_default,
            reasoning_output=self.reasoning_output,
            ollama_version=self.ollama_version,
        )

    def media_sources(self, *, authenticated: bool) -> MediaSources:
        """Where media may come from, on a server that asks its callers who they are, or not."""
        is_allowed = authenticated if self.allow_remote_media is None else self.allow_remote_media
        return MediaSources(Downloader() if is_allowed else None, self.max_media_bytes, self.media_timeout)

    @property
    def engine(self) -> EngineClient:
        """Where the models run. No process is started before the first request needs one."""
        return self.context.engine

    @engine.setter
    def engine(self, engine: EngineClient) -> None:
        self.context.engine = engine

    def initialize_settings(self) -> None:
        """Make what the handlers share."""
        assert self.serverapp is not None
        register_schemas(self.serverapp.event_logger)
        self.context = ServerContext(
            engine=self.model_kernel(self.log, self.take_news),
            settings=self.dialect_settings,
            max_request_bytes=self.max_request_bytes,
            keepalive_after=self.keepalive_after,
            media=self.media_sources(authenticated=self.serverapp.identity_provider.auth_enabled),
            stamp_activity=self._stamp_activity,
        )

    def initialize_handlers(self) -> None:
        """Add the endpoints, below the base URL and below its pico/."""
        self.handlers.extend(rules(self.context))

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Once all extensions have their handlers: answer in JSON what is still unknown below v1/."""
        serverapp.web_app.add_handlers(".*$", fallback_rules(serverapp.base_url, self.context))
        base = serverapp.connection_url.rstrip("/")
        self.log.info("pico_jupyter: OpenAI clients use %s/v1, Ollama clients %s/pico", base, base)

    def current_activity(self) -> bool:
        """Whether answers are being generated: the server does not shut down as idle under them."""
        return self.context.running > 0

    async def stop_extension(self) -> None:
        """Stop the engine within STOP_SECONDS. Raises nothing: after an exception here, jupyter_server 2 never ends."""
        try:
            await asyncio.wait_for(self.engine.aclose(), STOP_SECONDS)
        except TimeoutError:
            self.log.warning("pico_jupyter: the engine did not stop within %s s", STOP_SECONDS)
        except Exception:  # the end of the process must not depend on it
            self.log.exception("pico_jupyter: the engine did not stop in order")

    def take_news(self, news: KernelNews) -> None:
        """Pass on what the model kernel tells to those who watch this server."""
        assert self.serverapp is not None
        self.context.metrics.take(news)
        emit(self.serverapp.event_logger, news)

    def _stamp_activity(self) -> None:
        assert self.serverapp is not None
        self.serverapp.web_app.settings["last_activity_times"]["pico"] = datetime.now(UTC)


def _no_library(environ: Mapping[str, str]) -> Path | None:
    return None
