"""Which server a kernel belongs to. Only that one is ever asked: others would get its prompts, and its token."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from jupyter_core.paths import jupyter_runtime_dir

from pico_jupyter.errors import InvalidRequest

ANY_HOST = ("", "0.0.0.0", "::")


@dataclass(slots=True, frozen=True)
class ServerAddress:
    """Where a server is; `url` ends in a slash. `is_named`: a person named it, so nothing else will do."""

    url: str
    token: str = field(repr=False)
    is_named: bool = False

    @property
    def host(self) -> str:
        """The machine, without a port."""
        return urlsplit(self.url).hostname or "localhost"


def name_server(url: str, token: str = "") -> ServerAddress:
    """The address that a person gives. Raises InvalidRequest."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise InvalidRequest(f"url: {url!r} is no address like http://localhost:8888/", param="url")
    return ServerAddress(urlunsplit((*parts[:2], parts.path.rstrip("/") + "/", "", "")), token, is_named=True)


def find_server(environ: Mapping[str, str] = os.environ) -> ServerAddress | None:
    """The server that PICO_JUPYTER_URL names, else the one that started this kernel, also on a JupyterHub.

    Raises InvalidRequest for a PICO_JUPYTER_URL that is none.
    """
    if environ.get("PICO_JUPYTER_URL"):
        return name_server(environ["PICO_JUPYTER_URL"], environ.get("PICO_JUPYTER_TOKEN", ""))
    started = read_address(Path(jupyter_runtime_dir()) / f"jpserver-{environ.get('JPY_PARENT_PID', '')}.json")
    hub_token = environ.get("JUPYTERHUB_API_TOKEN", "")
    if started is not None:
        # A server of a JupyterHub has no token of its own: the hub knows its user by this one.
        return started if started.token or not hub_token else ServerAddress(started.url, hub_token)
    service = environ.get("JUPYTERHUB_SERVICE_URL", "")
    return ServerAddress(_reachable(service), hub_token) if service and hub_token else None


def read_address(info: Path) -> ServerAddress | None:
    """What a server's info file says, once it is there."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        facts = json.loads(info.read_text())
        return ServerAddress(str(facts["url"]), str(facts["token"]))
    return None


def _reachable(service_url: str) -> str:
    """`service_url` is where the server listens, which may be everywhere."""
    parts = urlsplit(service_url)
    port = f":{parts.port}" if parts.port else ""
    netloc = f"127.0.0.1{port}" if (parts.hostname or "") in ANY_HOST else parts.netloc
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/") + "/", "", ""))
