"""ServerContext: the engine, the settings and the metrics that all handlers of one server share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pico_jupyter import __version__
from pico_jupyter.assistant.mcp_service import McpService
from pico_jupyter.assistant.pages import Pages
from pico_jupyter.assistant.tool_servers import ToolServers
from pico_jupyter.client import EngineClient
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.downloads.manager import Downloads
from pico_jupyter.server.media_sources import MediaSources
from pico_jupyter.server.metrics import METRICS, ServerMetrics
from pico_jupyter.server.response_store import ResponseStore
from pico_jupyter.server.usage import UsageTotals


@dataclass(slots=True)
class ServerContext:
    """Shared by all handlers of one server.

    `max_request_bytes` limits a request's body. After `keepalive_after` seconds of silence a stream gets a keep-alive.
    `media` fetches the images and videos that requests name by URL.
    `responses` keeps the answers of v1/responses. `usage` counts the tokens of each user. `record_activity` records the
    current time as the latest activity of the server. `running` is the number of running requests. `downloads` gets
    models, if `allow_pull`. `memory_budget`: bytes for models; 0: a share of the memory. `pages` are the pages of
    JupyterLab that are connected, `mcp` serves the tools of their notebooks, and `tool_servers` are the MCP servers of
    the settings.
    """

    engine: EngineClient
    settings: DialectSettings
    max_request_bytes: int
    keepalive_after: float
    media: MediaSources
    responses: ResponseStore
    record_activity: Callable[[], None] = field(repr=False)
    metrics: ServerMetrics = METRICS
    usage: UsageTotals = field(default_factory=UsageTotals)
    running: int = 0
    downloads: Downloads = field(default_factory=Downloads)
    allow_pull: bool = False
    memory_budget: int = 0
    pages: Pages = field(default_factory=Pages)
    tool_servers: ToolServers = field(default_factory=lambda: ToolServers({}))
    mcp: McpService = field(init=False)

    def __post_init__(self) -> None:
        self.mcp = McpService(self.pages, __version__)

    def __repr__(self) -> str:
        return f"<ServerContext {self.engine!r} [{self.running} running]>"

    @contextmanager
    def activity(self) -> Iterator[None]:
        """Count a request as running inside the `with` block, so that Jupyter does not shut down the server as idle."""
        self.running += 1
        self.metrics.running.inc()
        self.record_activity()
        try:
            yield
        finally:
            self.running -= 1
            self.metrics.running.dec()
            self.record_activity()
