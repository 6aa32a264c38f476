"""Handles the endpoints of the Anthropic dialect: v1/messages and v1/messages/count_tokens."""

from __future__ import annotations

from pico_jupyter.dialects import anthropic_answer
from pico_jupyter.dialects.anthropic_answer import AnthropicStream
from pico_jupyter.dialects.anthropic_errors import AnthropicErrors
from pico_jupyter.dialects.anthropic_request import parse_anthropic_messages
from pico_jupyter.questions import TokenizePrompt
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.generation import GenerationHandler
from pico_jupyter.server.handlers import DialectHandler, NoEndpointHandler, permitted


class AnthropicHandler(DialectHandler):
    """Base of the handlers of this dialect. Errors contain the id of the request."""

    def initialize(self, context: ServerContext) -> None:
        """Tornado calls this with the arguments of the routing rule."""
        super().initialize(context)
        self.dialect = AnthropicErrors(f"req_{self.request_id}")

    def set_default_headers(self) -> None:
        """Add `request-id`, which Anthropic's clients show, to every response."""
        super().set_default_headers()
        self.set_header("request-id", f"req_{self.request_id}")


class AnthropicMessagesHandler(AnthropicHandler, GenerationHandler):
    """POST v1/messages."""

    dialect_name = "anthropic"
    endpoint = "v1/messages"

    async def answer(self) -> None:
        """Answer a conversation."""
        call = await self.parse(parse_anthropic_messages, request_id=self.request_id, settings=self.context.settings)
        if call.unknown_options:
            self.warn_of_unknown_options(call.unknown_options)
        message_id = f"msg_{self.request_id}"
        if call.stream:
            await self.answer_stream(call.request, AnthropicStream(call, message_id, f"req_{self.request_id}"))
        else:
            completion = await self.completion(call.request)
            self.respond(anthropic_answer.anthropic_message(call, completion, message_id))


class AnthropicCountHandler(AnthropicHandler):
    """POST v1/messages/count_tokens."""

    methods = ("POST",)

    @permitted("execute")
    async def post(self) -> None:
        """Count the tokens of a conversation, as the chat template renders it."""
        call = await self.parse(parse_anthropic_messages, request_id=self.request_id, settings=self.context.settings)
        with self.context.activity():
            request = await self.context.media.resolve(call.request, self)
            found = await self.context.engine.ask(TokenizePrompt(request))
        self.respond(anthropic_answer.token_count(found.tokens))


class AnthropicUnknownPathHandler(AnthropicHandler, NoEndpointHandler):
    """Answers the paths below v1/messages and v1/complete that do not exist with 404."""
