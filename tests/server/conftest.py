"""A Jupyter server in the event loop of the test, with the extension and a ScriptedEngine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_server.serverapp import ServerApp
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from traitlets.config import Config

from pico_jupyter.server.extension import PicoJupyter
from tests.fakes.downloads import FakeDownloads
from tests.fakes.engine_client import ScriptedEngine

TOKEN = "s3cret"
# jupyter_server sets a login cookie on every request with a token. A client that kept it would stay authenticated.
NO_COOKIES = DefaultCookiePolicy(allowed_domains=[])


class QuietServerApp(ServerApp):
    def init_signal(self) -> None:
        """Keep the signal handlers of the test runner."""


@dataclass
class RunningServer:
    """A listening server, and an HTTP client without credentials."""

    app: ServerApp
    extension: PicoJupyter
    engine: ScriptedEngine
    url: str
    port: int
    client: httpx.AsyncClient

    async def request(self, method: str, path: str, *, token: str = TOKEN, **kwargs: Any) -> httpx.Response:
        """Send a request with `token`; without credentials if it is empty."""
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **kwargs.pop("headers", {})}
        return await self.client.request(method, self.url + path, headers=headers, **kwargs)

    async def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return await self.request("GET", path, **kwargs)

    async def post(self, path: str, body: object = None, **kwargs: Any) -> httpx.Response:
        return await self.request("POST", path, **({} if body is None else {"json": body}), **kwargs)


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until `condition` is true. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.005)


StartServer = Callable[..., Awaitable[RunningServer]]


@pytest.fixture
async def start_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StartServer]:
    """Starts servers with a configuration each. They stop at the end of the test."""
    for name in ("CONFIG", "DATA", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_NO_CONFIG", "1")
    running: list[tuple[RunningServer, HTTPServer]] = []

    async def start(base_url: str = "/", token: str = TOKEN, started: bool = True, **sections: Any) -> RunningServer:
        config = Config(sections)
        config.IdentityProvider.token = token
        config.ServerApp.jpserver_extensions = {"pico_jupyter": True}
        ServerApp.clear_instance()
        app = QuietServerApp.instance(
            config=config, base_url=base_url, root_dir=str(tmp_path), allow_root=True, open_browser=False
        )
        app.initialize(argv=[], new_httpserver=False, find_extensions=False)
        (extension,) = app.extension_manager.extension_apps["pico_jupyter"]
        engine = ScriptedEngine()
        extension.engine = engine
        extension.context.downloads = FakeDownloads()
        if started:
            await app.extension_manager.start_all_extensions()
        sock, port = bind_unused_port()
        http_server = HTTPServer(app.web_app)
        http_server.add_sockets([sock])
        url = f"http://127.0.0.1:{port}{app.base_url}"
        server = RunningServer(
            app,
            extension,
            engine,
            url,
            port,
            httpx.AsyncClient(timeout=30, trust_env=False, cookies=CookieJar(NO_COOKIES)),
        )
        running.append((server, http_server))
        return server

    yield start
    for server, http_server in running:
        await server.client.aclose()
        http_server.stop()
        await http_server.close_all_connections()
        await server.app.cleanup_extensions()
        await server.app.cleanup_kernels()
        server.app.clear_instance()


@pytest.fixture
async def server(start_server: StartServer) -> RunningServer:
    """A server with the default configuration."""
    return await start_server()
