"""Finds the addresses and tokens of Jupyter servers. A token is sent only to the server that it belongs to."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
from jupyter_core.paths import jupyter_runtime_dir

from pico_jupyter.errors import InvalidRequest

ANY_HOST = ("", "0.0.0.0", "::")


@dataclass(slots=True, frozen=True)
class ServerAddress:
    """The address of a server. `url` ends in a slash. `is_named`: the user chose this server."""

    url: str
    token: str = field(repr=False)
    is_named: bool = False

    @property
    def host(self) -> str:
        """The host name, without the port."""
        return urlsplit(self.url).hostname or "localhost"


def name_server(url: str, token: str = "") -> ServerAddress:
    """Return the address that a user wrote. Raises InvalidRequest if `url` is not an http or https URL."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise InvalidRequest(f"url: {url!r} is not an address like http://localhost:8888/", param="url")
    return ServerAddress(urlunsplit((*parts[:2], parts.path.rstrip("/") + "/", "", "")), token, is_named=True)


def find_server(environ: Mapping[str, str] = os.environ) -> ServerAddress | None:
    """Return the server that PICO_JUPYTER_URL names, else the server that started this kernel. Supports JupyterHub.

    Raises InvalidRequest if PICO_JUPYTER_URL is not an http or https URL.
    """
    if environ.get("PICO_JUPYTER_URL"):
        return name_server(environ["PICO_JUPYTER_URL"], environ.get("PICO_JUPYTER_TOKEN", ""))
    parent = read_address(Path(jupyter_runtime_dir()) / f"jpserver-{environ.get('JPY_PARENT_PID', '')}.json")
    hub_token = environ.get("JUPYTERHUB_API_TOKEN", "")
    if parent is not None:
        # A single-user server of JupyterHub has no token of its own. It accepts the hub's token.
        return ServerAddress(parent.url, parent.token or hub_token)
    service = environ.get("JUPYTERHUB_SERVICE_URL", "")
    return ServerAddress(_with_loopback(service), hub_token) if service and hub_token else None


def running_servers() -> Iterator[ServerAddress]:
    """Yield the running Jupyter servers of this user.

    Info files of ended servers are skipped, because another program may listen at the address and would get the token.
    """
    for info in sorted(Path(jupyter_runtime_dir()).glob("jpserver-*.json")):
        address = read_address(info)
        pid = info.stem.removeprefix("jpserver-")
        if address is not None and pid.isdecimal() and psutil.pid_exists(int(pid)):
            yield address


def read_address(info: Path) -> ServerAddress | None:
    """Read the info file of a server. Returns None if the file is missing or incomplete."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        fields = json.loads(info.read_text())
        return ServerAddress(str(fields["url"]), str(fields["token"]))
    return None


def _with_loopback(service_url: str) -> str:
    """Replace a host that means "all interfaces" by loopback. JupyterHub writes such hosts."""
    parts = urlsplit(service_url)
    port = f":{parts.port}" if parts.port else ""
    netloc = f"127.0.0.1{port}" if (parts.hostname or "") in ANY_HOST else parts.netloc
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/") + "/", "", ""))
