"""Handles the endpoints of the OpenAI dialect. v1/chat, v1/memory and v1/usage are not part of OpenAI's API."""

from __future__ import annotations

import time

from pico_jupyter.dialects import anthropic_answer, openai_answer
from pico_jupyter.dialects.anthropic_errors import AnthropicErrors
from pico_jupyter.dialects.openai_answer import OpenAIChatStream
from pico_jupyter.dialects.openai_request import ChatPath, parse_openai_chat
from pico_jupyter.questions import DescribeMemory, FindModel, ListModels
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.credentials import owner_of
from pico_jupyter.server.error_responses import ErrorDialect
from pico_jupyter.server.generation import GenerationHandler
from pico_jupyter.server.handlers import DialectHandler, NoEndpointHandler, permitted


class OpenAIChatHandler(GenerationHandler):
    """POST v1/chat/completions and v1/chat."""

    dialect = openai_answer
    dialect_name = "openai"

    def initialize(self, context: ServerContext, path: ChatPath = "v1/chat/completions") -> None:
        """`path` is the endpoint. The default of `stream` depends on it."""
        self._path: ChatPath = path
        self.endpoint = path
        super().initialize(context)

    async def answer(self) -> None:
        """Answer a chat."""
        call = await self.parse(
            parse_openai_chat,
            request_id=self.request_id,
            path=self._path,
            accept=self.request.headers.get("Accept", ""),
            settings=self.context.settings,
        )
        if call.unknown_options:
            self.warn_of_unknown_options(call.unknown_options)
        completion_id, created = f"chatcmpl-{self.request_id}", int(time.time())
        if call.stream:
            await self.answer_stream(call.request, OpenAIChatStream(call, completion_id, created))
        else:
            completion = await self.completion(call.request)
            self.respond(openai_answer.completion(call, completion, completion_id, created))


class OpenAIModelsHandler(DialectHandler):
    """GET v1/models and v1/models/{id}. Requests with the header anthropic-version get Anthropic's format."""

    dialect: ErrorDialect = openai_answer
    methods = ("GET", "HEAD")

    def initialize(self, context: ServerContext) -> None:
        """Tornado calls this with the arguments of the routing rule."""
        super().initialize(context)
        self._is_anthropic = "anthropic-version" in self.request.headers
        if self._is_anthropic:
            self.dialect = AnthropicErrors(f"req_{self.request_id}")

    @permitted("read")
    async def get(self, name: str = "") -> None:
        """List the models, or describe one."""
        engine = self.context.engine
        if name:
            describe = anthropic_answer.anthropic_model if self._is_anthropic else openai_answer.model_object
            self.respond(describe(await engine.ask(FindModel(name))))
        else:
            encode = anthropic_answer.anthropic_models if self._is_anthropic else openai_answer.models_list
            self.respond(encode(await engine.ask(ListModels())))

    head = get


class OpenAIMemoryHandler(DialectHandler):
    """GET v1/memory."""

    dialect = openai_answer
    methods = ("GET", "HEAD")

    @permitted("read")
    async def get(self) -> None:
        """Report the memory for models, how much of it each model needs, and which models are loading."""
        self.respond(openai_answer.memory(await self.context.engine.ask(DescribeMemory())))

    head = get


class OpenAIUsageHandler(DialectHandler):
    """GET v1/usage."""

    dialect = openai_answer
    methods = ("GET", "HEAD")

    @permitted("read")
    async def get(self) -> None:
        """Report the requests and tokens of the user since the server's start."""
        self.respond(openai_answer.usage_report(self.context.usage.report(owner_of(self))))

    head = get


class OpenAIStatusHandler(DialectHandler):
    """GET v1: lets clients check that this extension is running."""

    dialect = openai_answer
    methods = ("GET", "HEAD")

    @permitted("read")
    async def get(self) -> None:
        """Answer with a constant status."""
        self.respond(b'{"status":"ok"}')

    head = get


class OpenAIUnknownPathHandler(NoEndpointHandler):
    """Answers all other paths below v1/ with 404."""

    dialect = openai_answer
