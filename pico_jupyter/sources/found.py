"""Where to ask: the one place that decides."""

from __future__ import annotations

import asyncio
import functools

from pico_jupyter.errors import EngineUnavailable, Forbidden, PicoError, Unauthenticated
from pico_jupyter.sources.address import ServerAddress, find_server
from pico_jupyter.sources.calls import Source
from pico_jupyter.sources.local import EngineSource, local_source
from pico_jupyter.sources.remote import ServerSource


async def find_source(named: ServerAddress | None = None) -> Source:
    """`named`, else the server that this kernel belongs to, if pico_jupyter answers there; else an engine in here.

    Runs in `shared_loop()`, where that engine lives. Raises PicoError if a server that a person named does not answer.
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
            raise EngineUnavailable(f"no pico_jupyter answers at {address.url}: {error.message}") from None
        return shared_engine()
    return server


@functools.cache
def shared_engine() -> EngineSource:
    """The engine of this process: panels and connections have one together."""
    return local_source()
