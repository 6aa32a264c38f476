"""Handles the endpoints of the Ollama dialect: the paths below api/, and pico/ itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing

from jupyter_server.auth.decorator import allow_unauthenticated

from pico_jupyter import __version__
from pico_jupyter.dialects import ollama_answer, ollama_models
from pico_jupyter.dialects.framing import NDJSON_TYPE
from pico_jupyter.dialects.ollama_answer import OllamaAnswerStream
from pico_jupyter.dialects.ollama_request import (
    OllamaAnswerCall,
    OllamaLoadCall,
    OllamaPullCall,
    parse_ollama_chat,
    parse_ollama_generate,
    parse_ollama_pull,
    parse_ollama_show,
)
from pico_jupyter.download_reports import read_repo_name
from pico_jupyter.downloads.manager import ACTIVE
from pico_jupyter.errors import Conflict, Forbidden, ModelNotFound, NotSupported, PicoError
from pico_jupyter.questions import FindModel, ListModels, ListResident, LoadModel, UnloadModel
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.download_handlers import delete_model
from pico_jupyter.server.generation import GenerationHandler
from pico_jupyter.server.handlers import DialectHandler, NoEndpointHandler, permitted


class OllamaAnsweringHandler(GenerationHandler):
    """Base of the handlers of api/chat and api/generate, which also load and unload models."""

    dialect = ollama_answer
    dialect_name = "ollama"
    parser: Callable[..., OllamaAnswerCall | OllamaLoadCall]

    async def answer(self) -> None:
        """Answer a chat or complete a prompt, or load or unload a model."""
        call = await self.parse(self.parser, request_id=self.request_id, settings=self.context.settings)
        if isinstance(call, OllamaLoadCall):
            await self._load(call)
            return
        if call.unknown_options:
            self.warn_of_unknown_options(call.unknown_options)
        if call.stream:
            await self.answer_stream(call.request, OllamaAnswerStream(call, time.time))
        else:
            completion = await self.completion(call.request)
            self.respond(ollama_answer.answer(call, completion, time.time()))

    async def _load(self, call: OllamaLoadCall) -> None:
        if call.unload:
            await self.authorize("write")
            await self.context.engine.ask(UnloadModel(call.model))
        else:
            await self.context.engine.ask(LoadModel(call.model, call.keep_alive))
        self.respond(ollama_answer.load_answer(call, time.time()))
        self.meter.end("unload" if call.unload else "load")


class OllamaChatHandler(OllamaAnsweringHandler):
    """POST api/chat."""

    endpoint = "api/chat"
    parser = staticmethod(parse_ollama_chat)


class OllamaGenerateHandler(OllamaAnsweringHandler):
    """POST api/generate."""

    endpoint = "api/generate"
    parser = staticmethod(parse_ollama_generate)


class OllamaTagsHandler(DialectHandler):
    """GET api/tags."""

    dialect = ollama_answer
    methods = ("GET", "HEAD")

    @permitted("read")
    async def get(self) -> None:
        """List the models."""
        self.respond(ollama_models.tags(await self.context.engine.ask(ListModels())))

    head = get


class OllamaProcessesHandler(DialectHandler):
    """GET api/ps."""

    dialect = ollama_answer
    methods = ("GET", "HEAD")

    @permitted("read")
    async def get(self) -> None:
        """List the models that are loaded."""
        self.respond(ollama_models.ps(await self.context.engine.ask(ListResident())))

    head = get


class OllamaVersionHandler(DialectHandler):
    """GET api/version."""

    dialect = ollama_answer
    methods = ("GET", "HEAD")

    @permitted("read")
    async def get(self) -> None:
        """Report the version of Ollama that this API imitates, and the version of pico_jupyter."""
        self.respond(ollama_models.version(self.context.settings, __version__))

    head = get


class OllamaShowHandler(DialectHandler):
    """POST api/show."""

    dialect = ollama_answer
    methods = ("POST",)

    @permitted("read")
    async def post(self) -> None:
        """Describe a model."""
        name = parse_ollama_show(self.body())
        self.respond(ollama_models.show(await self.context.engine.ask(FindModel(name)), name))


class OllamaPullHandler(DialectHandler):
    """POST api/pull. Succeeds at once for installed models, because some clients pull before every use.

    If the client disconnects, a download that its request started is paused.
    """

    dialect = ollama_answer
    methods = ("POST",)
    _answering: asyncio.Task[None] | None = None

    @permitted("write")
    async def post(self) -> None:
        """Download a model, unless it is installed."""
        call = parse_ollama_pull(self.body())
        try:
            await self.context.engine.ask(FindModel(call.model))
        except ModelNotFound:
            if not self.context.allow_pull:
                raise Forbidden("pulling models is disabled on this server") from None
            await self._pull(call)
            return
        self.respond(ollama_answer.pull_success(call), NDJSON_TYPE if call.stream else ollama_answer.JSON_TYPE)

    async def _pull(self, call: OllamaPullCall) -> None:
        downloads, model = self.context.downloads, read_repo_name(call.model)
        was_active = any(record.model == model and record.state in ACTIVE for record in downloads.records())
        downloads.start(model)
        self._answering = asyncio.create_task(self._stream(model) if call.stream else self._wait(model))
        with self.context.activity():
            await asyncio.wait([self._answering])
        if self._answering.cancelled():
            if not was_active:
                await downloads.pause(model)
        else:
            self._answering.result()

    async def _wait(self, model: str) -> None:
        async with aclosing(self.context.downloads.watch(model)) as records:
            async for record in records:
                last = record
        if last.state != "complete":
            raise Conflict(f"the download of {model} was paused or cancelled")
        self.respond(ollama_answer.pull_success(OllamaPullCall(model, stream=False)))

    async def _stream(self, model: str) -> None:
        self.set_header("Content-Type", NDJSON_TYPE)
        try:
            async with aclosing(self.context.downloads.watch(model, self.context.keepalive_after)) as records:
                async for record in records:
                    self.write(ollama_answer.pull_progress(record))
                    await self.flush()
        except PicoError as error:
            self.write(ollama_answer.error_body(error))
        self.finish()

    def on_connection_close(self) -> None:
        """Stop the answer. Tornado calls this when the client disconnects."""
        if self._answering is not None:
            self._answering.cancel()


class OllamaDeleteHandler(DialectHandler):
    """DELETE api/delete."""

    dialect = ollama_answer
    methods = ("DELETE",)

    @permitted("write")
    async def delete(self) -> None:
        """Delete a model that was downloaded."""
        name = parse_ollama_show(self.body())
        if not self.context.allow_pull:
            raise Forbidden("deleting models is disabled on this server")
        await delete_model(self.context, name)
        self.finish()


class OllamaRefusingHandler(DialectHandler):
    """An endpoint of Ollama that this server does not implement."""

    dialect = ollama_answer

    def initialize(
        self,
        context: ServerContext,
        methods: tuple[str, ...] = (),
        kind: type[PicoError] = NotSupported,
        message: str = "",
    ) -> None:
        """Requests with one of `methods` are refused with an error of class `kind` and this `message`."""
        super().initialize(context)
        self.methods = methods
        self._kind = kind
        self._message = message

    @permitted("write")
    async def post(self, *_: str) -> None:
        """Raise the error."""
        raise self._kind(self._message)

    delete = post
    head = post


class OllamaRootHandler(DialectHandler):
    """GET and HEAD pico/: Ollama's clients use them to check that the server runs.

    They send no token with these requests. Authentication is not required, because the answer is constant.
    """

    dialect = ollama_answer
    methods = ("GET", "HEAD")

    @allow_unauthenticated
    def get(self) -> None:
        """Answer with Ollama's text."""
        self.respond(b"Ollama is running", "text/plain; charset=utf-8")

    head = get


class OllamaUnknownPathHandler(NoEndpointHandler):
    """Answers all other paths below pico/ with 404."""

    dialect = ollama_answer
