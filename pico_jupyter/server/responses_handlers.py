"""Handles the endpoints of OpenAI's Responses API."""

from __future__ import annotations

import time

from pico_jupyter.dialects import responses_answer
from pico_jupyter.dialects.request_errors import invalid, wrong_value
from pico_jupyter.dialects.responses_answer import ResponsesStream
from pico_jupyter.dialects.responses_request import ResponsesCall, parse_responses
from pico_jupyter.server.generation import GenerationHandler
from pico_jupyter.server.handlers import DialectHandler, permitted
from pico_jupyter.server.response_store import StoredResponse

DEFAULT_PAGE = 20
MAX_PAGE = 100
ORDERS = ("asc", "desc")


class ResponsesHandler(GenerationHandler):
    """POST v1/responses."""

    dialect = responses_answer
    dialect_name = "openai"
    endpoint = "v1/responses"

    async def answer(self) -> None:
        """Answer the input, and store the response."""
        call = await self.parse(
            parse_responses,
            request_id=self.request_id,
            settings=self.context.settings,
            history=self.context.responses.of(self),
        )
        if call.unknown_options:
            self.warn_of_unknown_options(call.unknown_options)
        stream = ResponsesStream(call, time.time, lambda body: self._store(call, body))
        if call.stream:
            await self.answer_stream(call.request, stream)
        else:
            self.respond(stream.whole(await self.completion(call.request)))

    def _store(self, call: ResponsesCall, body: bytes) -> None:
        if call.store:
            stored = StoredResponse(body, call.stored_input, call.fields.previous_response_id)
            self.context.responses.of(self).add(call.response_id, stored)


class StoredResponseHandler(DialectHandler):
    """GET and DELETE v1/responses/{response_id}."""

    dialect = responses_answer
    methods = ("GET", "HEAD", "DELETE")

    @permitted("read")
    async def get(self, response_id: str) -> None:
        """Return a stored response."""
        if self.get_query_argument("stream", "false") == "true":
            raise invalid(
                "stream", "'stream' is not supported here: a stored response is complete.", "unsupported_value"
            )
        self.respond(self.context.responses.of(self).find(response_id).body)

    head = get

    @permitted("write")
    async def delete(self, response_id: str) -> None:
        """Remove a stored response."""
        self.context.responses.of(self).remove(response_id)
        self.respond(responses_answer.deleted(response_id))


class ResponseInputHandler(DialectHandler):
    """GET v1/responses/{response_id}/input_items."""

    dialect = responses_answer
    methods = ("GET", "HEAD")

    @permitted("read")
    async def get(self, response_id: str) -> None:
        """List the input items of a stored response, the latest ones first."""
        limit = self.get_query_argument("limit", str(DEFAULT_PAGE))
        if not limit.isascii() or not limit.isdecimal() or not 1 <= int(limit[:9]) <= MAX_PAGE:
            raise invalid("limit", f"Invalid value for 'limit': it must be between 1 and {MAX_PAGE}.")
        order = self.get_query_argument("order", "desc")
        if order not in ORDERS:
            raise wrong_value("order", order, ORDERS)
        items = self.context.responses.of(self).input_items(response_id)
        after = self.get_query_argument("after", "")
        self.respond(responses_answer.input_list(items, after=after, limit=int(limit), descending=order == "desc"))

    head = get
