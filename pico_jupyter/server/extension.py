"""The Jupyter server extension: its configuration, its endpoints, and the start and stop of the engine."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import Bool, Dict, Enum, Float, Int, TraitError, Unicode, validate

from pico_jupyter.assistant.tool_server_settings import read_settings
from pico_jupyter.assistant.tool_servers import ToolServers
from pico_jupyter.client import EngineClient
from pico_jupyter.configuration import EngineConfiguration
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.model_kernel.kernel_events import KernelEvent
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.download import Downloader
from pico_jupyter.server.events import emit, register_schemas
from pico_jupyter.server.media_sources import MediaSources
from pico_jupyter.server.response_store import ResponseStore
from pico_jupyter.server.routes import fallback_rules, rules

OLDEST_OLLAMA = (0, 6, 4)


class PicoJupyter(EngineConfiguration, ExtensionApp):
    """Local language models behind OpenAI's and Ollama's endpoints of this Jupyter server."""

    name = "pico_jupyter"
    description = __doc__
    stop_seconds = 10.0  # timeout for stopping the engine
    load_other_extensions = True

    default_model = Unicode(
        "", config=True, help="The model for requests without one. Empty: such requests are refused."
    )
    reasoning_output = Enum(
        ["separate", "inline", "auto"],
        "separate",
        config=True,
        help="separate: reasoning is in separate fields. inline: it is in the content, between <think> tags. auto: "
        "separate in answers to Ollama requests that turn think on, inline in all others.",
    )
    structured_outputs = Enum(
        ["schema", "ignore", "enforce"],
        "schema",
        config=True,
        help="schema: answers have the structure that response_format, a schema in Ollama's `format` or a field of "
        'vLLM requests; a text in `format` has no effect. enforce: `format` may also be "json", as in Ollama. '
        "ignore: these fields are checked and have no effect.",
    )
    openai_stream_default = Enum(
        ["openai", "pico"],
        "openai",
        config=True,
        help="Whether v1/chat/completions streams when a request omits `stream`. openai: it does not. pico: it does, "
        "as v1/chat does; OpenAI's own clients omit `stream` and then fail.",
    )
    ollama_version = Unicode(
        "0.20.0",
        config=True,
        help="The version that api/version reports: digits and dots, at least 0.6.4, because clients compare it.",
    )
    max_request_bytes = Int(
        64 * 1024 * 1024,
        min=1,
        config=True,
        help="Maximum size of a request's body in bytes. Larger requests get status 413.",
    )
    keepalive_after = Float(
        10.0,
        min=0.05,
        config=True,
        help="Seconds of silence after which a stream gets a keep-alive. Proxies close silent connections.",
    )

    allow_pull = Bool(
        None,
        allow_none=True,
        config=True,
        help="Whether clients with the write permission may download and delete models. None: only if this server "
        "requires a token or a password and was not started by JupyterHub.",
    )
    allow_remote_media = Bool(
        None,
        allow_none=True,
        config=True,
        help="Whether images and videos are fetched from http: and https: URLs in requests, from public addresses "
        "only. None: only if this server requires a token or a password.",
    )
    max_media_bytes = Int(
        50 * 1024 * 1024, min=1, config=True, help="Maximum number of bytes fetched as images and videos for a request."
    )
    media_timeout = Float(
        20.0, min=0.05, config=True, help="Timeout in seconds for fetching the images and videos of one request."
    )

    response_store_bytes = Int(
        64 * 1024 * 1024,
        min=0,
        config=True,
        help="Maximum number of bytes of one user's stored responses (v1/responses), which are kept in memory. The "
        "ones that were not used for the longest time are removed. 0: none is stored.",
    )
    response_store_seconds = Float(
        86400.0,
        min=0.0,
        config=True,
        help="Seconds without use after which a stored response is removed, at the next request to v1/responses at the "
        "latest.",
    )

    mcp_servers = Dict(
        config=True,
        help="MCP servers whose tools the assistant may call after the user's approval, in the form of `mcpServers` in "
        'other programs: {"name": {"command": "...", "args": [...], "env": {...}}} or {"name": {"url": "...", '
        '"headers": {...}}}. `${NAME}` is replaced with the environment variable NAME.',
    )

    @validate("mcp_servers")  # type: ignore[untyped-decorator]  # mypy does not follow traitlets here
    def _check_mcp_servers(self, proposal: dict[str, Any]) -> dict[str, Any]:
        try:
            read_settings(proposal["value"])
        except ValueError as error:
            raise TraitError(str(error)) from None
        return dict(proposal["value"])

    @validate("ollama_version")  # type: ignore[untyped-decorator]  # mypy does not follow traitlets here
    def _check_ollama_version(self, proposal: dict[str, Any]) -> str:
        version = str(proposal["value"])
        if not re.fullmatch(r"\d+(\.\d+)+", version) or tuple(map(int, version.split("."))) < OLDEST_OLLAMA:
            raise TraitError("ollama_version must be digits and dots, at least 0.6.4, because clients compare it")
        return version

    @property
    def dialect_settings(self) -> DialectSettings:
        """The settings of the dialects, from this configuration."""
        return DialectSettings(
            default_model=self.default_model,
            openai_stream_default=self.openai_stream_default,
            reasoning_output=self.reasoning_output,
            structured_outputs=self.structured_outputs,
            ollama_version=self.ollama_version,
        )

    def media_sources(self, *, authenticated: bool) -> MediaSources:
        """Create the MediaSources. `authenticated` means that the server requires a token or a password."""
        is_allowed = authenticated if self.allow_remote_media is None else self.allow_remote_media
        return MediaSources(Downloader() if is_allowed else None, self.max_media_bytes, self.media_timeout)

    def may_pull(self, *, authenticated: bool, environ: Mapping[str, str] = os.environ) -> bool:
        """Whether clients may download models. The default is for the server of a single user, not for a service."""
        is_service = not authenticated or "JUPYTERHUB_API_TOKEN" in environ
        return not is_service if self.allow_pull is None else bool(self.allow_pull)

    @property
    def engine(self) -> EngineClient:
        """The engine. Its process starts with the first request that needs it."""
        return self.context.engine

    @engine.setter
    def engine(self, engine: EngineClient) -> None:
        self.context.engine = engine

    def initialize_settings(self) -> None:
        """Create the context that the handlers share."""
        assert self.serverapp is not None
        register_schemas(self.serverapp.event_logger)
        authenticated = self.serverapp.identity_provider.auth_enabled
        self.context = ServerContext(
            engine=self.model_kernel(self.log, self.publish_event),
            settings=self.dialect_settings,
            max_request_bytes=self.max_request_bytes,
            keepalive_after=self.keepalive_after,
            media=self.media_sources(authenticated=authenticated),
            responses=ResponseStore(self.response_store_bytes, self.response_store_seconds),
            record_activity=self._record_activity,
            allow_pull=self.may_pull(authenticated=authenticated),
            memory_budget=self.memory_budget,
            tool_servers=ToolServers(read_settings(self.mcp_servers)),
        )

    def initialize_handlers(self) -> None:
        """Add all endpoints below the base URL, and again below pico/."""
        self.handlers.extend(rules(self.context))

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Add handlers of unknown paths. Jupyter calls this after all extensions have added their handlers."""
        serverapp.web_app.add_handlers(".*$", fallback_rules(serverapp.base_url, self.context))
        base = serverapp.connection_url.rstrip("/")
        self.log.info("pico_jupyter: OpenAI clients use %s/v1, Ollama clients %s/pico", base, base)

    def current_activity(self) -> bool:
        """Whether requests or downloads are running. If so, Jupyter does not shut down the server as idle."""
        return self.context.running > 0 or self.context.downloads.is_running

    async def stop_extension(self) -> None:
        """Stop the engine within `stop_seconds`.

        Raises nothing, because jupyter_server 2.x does not exit after an exception.
        """
        try:
            await self.context.mcp.close()
            await self.context.tool_servers.close()
            await self.context.downloads.aclose()
            await asyncio.wait_for(self.engine.aclose(), self.stop_seconds)
        except TimeoutError:
            self.log.warning("pico_jupyter: the engine did not stop within %s s", self.stop_seconds)
        except Exception:  # a failure of the engine must not keep the server running
            self.log.exception("pico_jupyter: stopping the engine failed")

    def publish_event(self, event: KernelEvent) -> None:
        """Record an event of the model kernel in the metrics and emit it as a Jupyter event."""
        assert self.serverapp is not None
        self.context.metrics.record(event)
        emit(self.serverapp.event_logger, event)

    def _record_activity(self) -> None:
        assert self.serverapp is not None
        self.serverapp.web_app.settings["last_activity_times"]["pico"] = datetime.now(UTC)
