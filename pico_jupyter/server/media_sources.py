"""Fetches the pictures and clips that a request names by URL, so that the engine gets bytes. Knows no dialect."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from jupyter_server.base.handlers import JupyterHandler
from msgspec.structs import replace

from pico_jupyter.errors import Forbidden, InvalidRequest
from pico_jupyter.server.allowance import Allowance
from pico_jupyter.server.download import Downloader
from pico_jupyter.server.files import read_file
from pico_jupyter.types import ChatPrompt, GenerationRequest, ImagePart, Message, Part, VideoPart

# How much is fetched at once for one request.
MOST_AT_ONCE = 8

MediaPart: TypeAlias = ImagePart | VideoPart


@dataclass(frozen=True, slots=True)
class MediaSources:
    """Where the media of requests may come from, besides the requests themselves and the files of the server.

    Without a `downloader` nothing is fetched from other hosts. All that is fetched for one request may have `max_bytes`
    and take `timeout` seconds.
    """

    downloader: Downloader | None
    max_bytes: int
    timeout: float

    async def resolve(self, request: GenerationRequest, caller: JupyterHandler) -> GenerationRequest:
        """The request with the bytes of all its media, as `caller` may have them.

        Raises InvalidRequest or Forbidden, which name the field. Cancelling it ends what is under way.
        """
        if not isinstance(request.prompt, ChatPrompt):
            return request
        named = [part for message in request.prompt.messages for part in message.content if _is_named(part)]
        if not named:
            return request
        found = await self._fetch_all(named, caller)
        messages = tuple(_with_media(message, found) for message in request.prompt.messages)
        return replace(request, prompt=replace(request.prompt, messages=messages))

    async def _fetch_all(self, named: list[MediaPart], caller: JupyterHandler) -> dict[str, bytes]:
        """The bytes by URL; what is named twice is fetched once."""
        firsts = {part.url: part for part in reversed(named)}
        turnstile = asyncio.Semaphore(MOST_AT_ONCE)
        allowance = Allowance(self.max_bytes)
        tasks = [asyncio.ensure_future(self._fetch(part, caller, allowance, turnstile)) for part in firsts.values()]
        try:
            return dict(zip(firsts, await asyncio.gather(*tasks), strict=True))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _fetch(
        self, part: MediaPart, caller: JupyterHandler, allowance: Allowance, turnstile: asyncio.Semaphore
    ) -> bytes:
        kind = "clip" if isinstance(part, VideoPart) else "picture"
        place = f"the {kind} at {part.param} cannot be fetched"
        try:
            return await asyncio.wait_for(self._read(part.url, caller, allowance, turnstile), self.timeout)
        except TimeoutError:
            reason = f"that takes longer than {self.timeout:g} s"
        except InvalidRequest as error:
            reason = error.message
        except Forbidden as error:
            raise Forbidden(f"{place}: {error.message}", param=part.param) from None
        raise InvalidRequest(f"{place}: {reason}", param=part.param, code="invalid_value")

    async def _read(
        self, url: str, caller: JupyterHandler, allowance: Allowance, turnstile: asyncio.Semaphore
    ) -> bytes:
        async with turnstile:
            if url[:8].lower() == "jupyter:":
                return await read_file(url, caller, allowance)
            if self.downloader is None:
                raise InvalidRequest("this server fetches nothing from other hosts; send it as a data: URL")
            return await self.downloader.fetch(url, allowance)


def _is_named(part: Part) -> TypeGuard[MediaPart]:
    return isinstance(part, ImagePart | VideoPart) and bool(part.url)


def _with_media(message: Message, found: Mapping[str, bytes]) -> Message:
    content = tuple(
        replace(part, data=found[part.url], url="") if _is_named(part) else part for part in message.content
    )
    return replace(message, content=content)
