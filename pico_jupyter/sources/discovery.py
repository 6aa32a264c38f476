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
    """Return the source for `named`, else for the server of this kernel, else for the engine of this process.

    Must run in `shared_loop()`, where that engine runs. Raises PicoError if a named server does not answer.
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
    """Return the server that the user named, else the first of this user's servers where pico_jupyter answers.

    Raises InvalidRequest if PICO_JUPYTER_URL is not an http or https URL.
    """
    found = find_server()
    if found is not None and found.is_named:
        return found
    candidates = (*([found] if found is not None else []), *running_servers())
    return next((address for address in candidates if ServerSource(address).answers()), None)


@functools.cache
def shared_engine() -> EngineSource:
    """Return the engine of this process, which its panels and connections share. It starts with the first request."""
    return EngineSource(local_engine(EngineOptions()))
