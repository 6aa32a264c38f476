"""Chooses the source of answers for this process."""

from __future__ import annotations

import asyncio
import functools

from pico_jupyter.engine.local_client import local_engine
from pico_jupyter.errors import EngineUnavailable, Forbidden, PicoError, Unauthenticated
from pico_jupyter.sources.calls import Source
from pico_jupyter.sources.engine_source import EngineSource
from pico_jupyter.sources.server_address import ServerAddress, find_server, running_servers
from pico_jupyter.sources.server_source import ServerSource
from pico_jupyter.types import EngineOptions


async def find_source(named: ServerAddress | None = None) -> Source:
    """Return a source: the server `named`, else the server from find_server(), else the engine of this process.

    Must run in `shared_loop()`, where the engine runs. If the server does not answer, returns the engine; but raises
    PicoError if the user named the server.
    """
    address = named or find_server()
    if address is None:
        return shared_engine()
    server = ServerSource(address)
    try:
        await asyncio.to_thread(server.probe)
    except (Unauthenticated, Forbidden):
        if address.is_named:
            raise
        return shared_engine()
    except PicoError as error:
        if address.is_named:
            raise EngineUnavailable(f"there is no pico_jupyter server at {address.url}: {error.message}") from None
        return shared_engine()
    return server


def find_running_server() -> ServerAddress | None:
    """Return the server that PICO_JUPYTER_URL names, else the first of this user's servers with pico_jupyter.

    Raises InvalidRequest if PICO_JUPYTER_URL is not an http or https URL.
    """
    found = find_server()
    if found is not None and found.is_named:
        return found
    candidates = [*running_servers()] if found is None else [found, *running_servers()]
    return next((address for address in candidates if ServerSource(address).answers()), None)


@functools.cache
def shared_engine() -> EngineSource:
    """Return the one EngineSource of this process. Its engine starts with the first request."""
    return EngineSource(local_engine(EngineOptions()))
