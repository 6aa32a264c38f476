"""Handles pico/downloads and pico/hub: the panel and the terminal get models with them."""

from __future__ import annotations

import asyncio

import msgspec

from pico_jupyter.dialects import openai_answer
from pico_jupyter.dialects.download_requests import parse_change, parse_download, parse_search
from pico_jupyter.download_reports import (
    DownloadList,
    FoundModels,
    FreedDisk,
    HubModel,
    LocalState,
    RecommendedModels,
    read_repo_name,
)
from pico_jupyter.downloads.recommended import fit_into, machine_memory, recommended_models
from pico_jupyter.downloads.removal import find_deletable
from pico_jupyter.engine_reports import SkippedFolders
from pico_jupyter.errors import Conflict, Forbidden
from pico_jupyter.questions import FindModel, ListModels, ListResident, ListSkipped, UnloadModel
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.handlers import DialectHandler, permitted

DISABLED = "downloading models is disabled on this server (c.PicoJupyter.allow_pull)"


class OwnHandler(DialectHandler):
    """Base of the handlers of this API. Errors have the form of OpenAI's."""

    dialect = openai_answer

    def check_allowed(self) -> None:
        """Raise Forbidden if this server downloads no models."""
        if not self.context.allow_pull:
            raise Forbidden(DISABLED)

    def respond_struct(self, answer: msgspec.Struct, status: int = 200) -> None:
        """Send the response as JSON."""
        self.set_status(status)
        self.respond(msgspec.json.encode(answer))


class DownloadsHandler(OwnHandler):
    """GET and POST pico/downloads."""

    methods = ("GET", "HEAD", "POST")

    @permitted("read")
    async def get(self) -> None:
        """List the downloads."""
        self.respond_struct(DownloadList(self.context.downloads.records()))

    head = get

    @permitted("write")
    async def post(self) -> None:
        """Start or resume a download."""
        self.check_allowed()
        request = parse_download(self.body())
        self.respond_struct(self.context.downloads.start(request.model, request.revision or ""), 202)


class DownloadHandler(OwnHandler):
    """PATCH and DELETE pico/downloads/{owner}/{name}."""

    methods = ("PATCH", "DELETE")

    @permitted("write")
    async def patch(self, owner: str, name: str) -> None:
        """Pause or resume a download."""
        self.check_allowed()
        change, downloads = parse_change(self.body()), self.context.downloads
        model = read_repo_name(f"{owner}/{name}")
        if change.state == "paused":
            self.respond_struct(await downloads.pause(model))
        else:
            downloads.find(model)
            self.respond_struct(downloads.start(model))

    @permitted("write")
    async def delete(self, owner: str, name: str) -> None:
        """Cancel a download and delete its files."""
        self.check_allowed()
        model = read_repo_name(f"{owner}/{name}")
        self.respond_struct(FreedDisk(model, await self.context.downloads.cancel(model)))


class SkippedHandler(OwnHandler):
    """GET pico/skipped."""

    methods = ("GET", "HEAD")

    @permitted("read")
    async def get(self) -> None:
        """List the folders that contain files of a model and are not listed, with the reasons."""
        self.respond_struct(SkippedFolders(await self.context.engine.ask(ListSkipped())))

    head = get


class HubHandler(OwnHandler):
    """Base of the handlers that describe models of the hub."""

    methods = ("GET", "HEAD")

    async def complete(self, models: list[HubModel]) -> list[HubModel]:
        """Add to each model whether it fits into the memory, and whether it is on this machine."""
        memory = machine_memory()
        states: dict[str, LocalState] = {
            record.model: "running" if record.state in ("queued", "running") else "partial"
            for record in self.context.downloads.records()
            if record.state != "complete"
        }
        present = {info.repo.lower() for info in await self.context.engine.ask(ListModels()) if info.repo}
        return [
            msgspec.structs.replace(
                model,
                fits=fit_into(memory, model.memory_bytes, self.context.memory_budget),
                state=states.get(model.model, "present" if model.model.lower() in present else "absent"),
            )
            for model in models
        ]


class HubRecommendedHandler(HubHandler):
    """GET pico/hub/recommended."""

    @permitted("read")
    async def get(self) -> None:
        """List good models. Does not ask the hub."""
        self.check_allowed()
        models = await self.complete(list(recommended_models()))
        self.respond_struct(RecommendedModels(machine_memory(), models))

    head = get


class HubSearchHandler(HubHandler):
    """GET pico/hub/search."""

    @permitted("read")
    async def get(self) -> None:
        """Search the hub."""
        self.check_allowed()
        search = parse_search(self.get_query_argument("q", ""), self.get_query_argument("limit", ""))
        found = await self.context.downloads.search(search.words, search.limit)
        self.respond_struct(FoundModels(await self.complete(found)))

    head = get


class HubModelHandler(HubHandler):
    """GET pico/hub/models/{owner}/{name}."""

    @permitted("read")
    async def get(self, owner: str, name: str) -> None:
        """Describe a model of the hub."""
        self.check_allowed()
        described = await self.context.downloads.describe(read_repo_name(f"{owner}/{name}"))
        self.respond_struct((await self.complete([described]))[0])

    head = get


async def delete_model(context: ServerContext, name: str) -> int:
    """Unload a model and delete its files. Returns the bytes that this freed.

    Raises ModelNotFound, Conflict if the model is answering requests, and Forbidden if it was not downloaded.
    """
    info = await context.engine.ask(FindModel(name))
    repo = find_deletable(info)
    for resident in await context.engine.ask(ListResident()):
        if resident.info.name != info.name:
            continue
        if resident.active:
            raise Conflict(f"{info.name} is answering a request. Try again when the answer is complete.")
        await context.engine.ask(UnloadModel(info.name))
    freed = await asyncio.to_thread(repo.remove)
    context.downloads.forget(repo.model)
    return freed
