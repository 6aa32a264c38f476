"""What the command line knows about its surroundings: the user's configuration and the running servers."""

from __future__ import annotations

import os
import urllib.request
from dataclasses import dataclass

import msgspec
from jupyter_core.application import JupyterApp
from jupyter_server.serverapp import list_running_servers

from pico_jupyter.server.extension import PicoJupyter
from pico_jupyter.types import EngineOptions

PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a Jupyter server with pico_jupyter answers; `url` ends in a slash."""

    url: str
    token: str


class _ServerConfig(JupyterApp):
    """Reads the configuration files that a Jupyter server would read, and nothing else."""

    name = "jupyter-pico"
    config_file_name = "jupyter_server_config"


def configured() -> PicoJupyter:
    """The extension as a Jupyter server of this user would configure it; it belongs to no server."""
    reader = _ServerConfig()
    reader.load_config_file()
    return PicoJupyter(config=reader.config)


def engine_options() -> EngineOptions:
    """The EngineOptions that a Jupyter server of this user would pass to its engine."""
    return configured().engine_options


def find_server() -> ServerAddress | None:
    """The first of: PICO_JUPYTER_URL (with PICO_JUPYTER_TOKEN), a running server of this user that has the extension.

    A server's token goes to that server only.
    """
    url = os.environ.get("PICO_JUPYTER_URL")
    if url:
        return ServerAddress(url.rstrip("/") + "/", os.environ.get("PICO_JUPYTER_TOKEN", ""))
    for running in list_running_servers():
        address = ServerAddress(running["url"], running.get("token", ""))
        if answers(address):
            return address
    return None


def answers(address: ServerAddress) -> bool:
    """Whether pico_jupyter answers at `address`."""
    try:
        with urllib.request.urlopen(http_request(address, "api/version"), timeout=PROBE_SECONDS) as response:
            version = msgspec.json.decode(response.read(), type=dict[str, str])
    except (OSError, ValueError, msgspec.MsgspecError):
        return False
    return "pico_jupyter" in version


def http_request(address: ServerAddress, path: str, body: object = None) -> urllib.request.Request:
    """A request to the server with its token; POST of JSON when there is a body."""
    headers = {"Content-Type": "application/json"}
    if address.token:
        headers["Authorization"] = f"Bearer {address.token}"
    data = None if body is None else msgspec.json.encode(body)
    return urllib.request.Request(address.url + path, data=data, headers=headers)
