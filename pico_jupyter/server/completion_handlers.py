"""Handles v1/completions and the endpoints about tokens: v1/tokenize, v1/detokenize, v1/chat/completions/render."""

from __future__ import annotations

import time

from pico_jupyter.dialects import completions_answer, openai_answer, token_requests
from pico_jupyter.dialects.completions_answer import OpenAICompletionStream
from pico_jupyter.dialects.completions_request import OpenAICompletionCall, parse_openai_completion, prompt_of
from pico_jupyter.questions import DetokenizePrompt
from pico_jupyter.server.generation import GenerationHandler
from pico_jupyter.server.handlers import DialectHandler, permitted
from pico_jupyter.types import GenerationRequest


class OpenAICompletionHandler(GenerationHandler):
    """POST v1/completions."""

    dialect = openai_answer
    dialect_name = "openai"
    endpoint = "v1/completions"

    async def answer(self) -> None:
        """Continue the prompts."""
        call = await self.parse(parse_openai_completion, request_id=self.request_id, settings=self.context.settings)
        if call.unknown_options:
            self.warn_of_unknown_options(call.unknown_options)
        completion_id, created = f"cmpl-{self.request_id}", int(time.time())
        echoes = await self._echoes(call)
        if call.stream:
            stream = OpenAICompletionStream(call, completion_id, created, echoes)
            await self.answer_stream(call.requests[0], stream, *call.requests[1:])
        else:
            completion = await self.completion(*call.requests)
            self.respond(completions_answer.text_completion(call, completion, completion_id, created, echoes))

    async def _echoes(self, call: OpenAICompletionCall) -> list[str]:
        """Return the texts of the prompts, if the answer begins with them."""
        return [await self._text_of(request) for request in call.requests] if call.echo else []

    async def _text_of(self, request: GenerationRequest) -> str:
        prompt = prompt_of(request)
        if not prompt.tokens:
            return prompt.text
        return await self.context.engine.ask(DetokenizePrompt(request.model, prompt.tokens))


class TokenizeHandler(DialectHandler):
    """POST v1/tokenize."""

    dialect = openai_answer
    methods = ("POST",)

    @permitted("execute")
    async def post(self) -> None:
        """Tokenize a text or a chat."""
        question = await self.parse(
            token_requests.parse_tokenize, request_id=self.request_id, settings=self.context.settings
        )
        with self.context.activity():
            found = await self.context.engine.ask(question)
        self.respond(token_requests.tokenize_answer(found, question))


class RenderHandler(DialectHandler):
    """POST v1/chat/completions/render."""

    dialect = openai_answer
    methods = ("POST",)

    @permitted("execute")
    async def post(self) -> None:
        """Render a chat."""
        question = await self.parse(
            token_requests.parse_render, request_id=self.request_id, settings=self.context.settings
        )
        with self.context.activity():
            found = await self.context.engine.ask(question)
        self.respond(token_requests.render_answer(found))


class DetokenizeHandler(DialectHandler):
    """POST v1/detokenize."""

    dialect = openai_answer
    methods = ("POST",)

    @permitted("execute")
    async def post(self) -> None:
        """Return the text of tokens."""
        question = await self.parse(token_requests.parse_detokenize, settings=self.context.settings)
        with self.context.activity():
            text = await self.context.engine.ask(question)
        self.respond(token_requests.detokenize_answer(text))
