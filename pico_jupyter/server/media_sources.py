"""Fetches the images and videos that a request names by URL, because the engine accepts bytes only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from jupyter_server.base.handlers import JupyterHandler
from msgspec.structs import replace

from pico_jupyter.errors import Forbidden, InvalidRequest
from pico_jupyter.server.byte_budget import ByteBudget
from pico_jupyter.server.download import Downloader
from pico_jupyter.server.files import read_file
from pico_jupyter.types import ChatPrompt, GenerationRequest, ImagePart, Message, Part, VideoPart

MAX_PARALLEL = 8

MediaPart: TypeAlias = ImagePart | VideoPart


@dataclass(frozen=True, slots=True)
class MediaSources:
    """Fetches media by URL: jupyter: from the server's files, http: and https: from other hosts.

    downloader: fetches http: and https: URLs; if it is None, they are refused. max_bytes: limit on the total size of
    the media of one request. timeout: limit in seconds for fetching them.
    """

    downloader: Downloader | None
    max_bytes: int
    timeout: float

    async def resolve(self, request: GenerationRequest, handler: JupyterHandler) -> GenerationRequest:
        """Return the request with the bytes of its media. Files are read with the rights of the client of `handler`.

        Raises InvalidRequest or Forbidden, with the field in `param`. Cancellation closes all connections.
        """
        if not isinstance(request.prompt, ChatPrompt):
            return request
        parts = [part for message in request.prompt.messages for part in message.content if _has_url(part)]
        if not parts:
            return request
        fetched = await self._fetch_all(parts, handler)
        messages = tuple(_with_media(message, fetched) for message in request.prompt.messages)
        return replace(request, prompt=replace(request.prompt, messages=messages))

    async def _fetch_all(self, parts: list[MediaPart], handler: JupyterHandler) -> dict[str, bytes]:
        """Return the bytes of each URL. A URL that several parts have is fetched once."""
        firsts = {
            part.url: part for part in reversed(parts)
        }  # reversed: an error names the first part that has the URL.
        slots = asyncio.Semaphore(MAX_PARALLEL)
        budget = ByteBudget(self.max_bytes)
        tasks = [asyncio.ensure_future(self._fetch(part, handler, budget, slots)) for part in firsts.values()]
        try:
            return dict(zip(firsts, await asyncio.gather(*tasks), strict=True))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _fetch(
        self, part: MediaPart, handler: JupyterHandler, budget: ByteBudget, slots: asyncio.Semaphore
    ) -> bytes:
        kind = "video" if isinstance(part, VideoPart) else "image"
        failure = f"the {kind} at {part.param} cannot be fetched"
        try:
            return await asyncio.wait_for(self._read(part.url, handler, budget, slots), self.timeout)
        except TimeoutError:
            reason = f"it takes longer than {self.timeout:g} s"
        except InvalidRequest as error:
            reason = error.message
        except Forbidden as error:
            raise Forbidden(f"{failure}: {error.message}", param=part.param) from None
        raise InvalidRequest(f"{failure}: {reason}", param=part.param, code="invalid_value")

    async def _read(self, url: str, handler: JupyterHandler, budget: ByteBudget, slots: asyncio.Semaphore) -> bytes:
        async with slots:
            if url[:8].lower() == "jupyter:":
                return await read_file(url, handler, budget)
            if self.downloader is None:
                raise InvalidRequest("this server does not fetch from other hosts; send a data: URL instead")
            return await self.downloader.fetch(url, budget)


def _has_url(part: Part) -> TypeGuard[MediaPart]:
    return isinstance(part, ImagePart | VideoPart) and bool(part.url)


def _with_media(message: Message, fetched: Mapping[str, bytes]) -> Message:
    content = tuple(
        replace(part, data=fetched[part.url], url="") if _has_url(part) else part for part in message.content
    )
    return replace(message, content=content)
