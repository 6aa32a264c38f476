"""Calls of v1/responses, and a history in memory, for the tests of the dialect."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import get_args

from openai import BaseModel
from openai.types.responses import Response, ResponseStreamEvent

from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.responses_answer import ResponsesStream
from pico_jupyter.dialects.responses_request import ResponsesCall, parse_responses
from pico_jupyter.errors import NotFound
from tests.dialects.samples import Json, encoded

NOW = 1763800000.5
# The SDK's model of each event, by the event's type.
EVENT_MODELS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(ResponseStreamEvent)[0])
}


class MemoryHistory:
    """The items of some responses, by the response's id."""

    def __init__(self, responses: dict[str, list[Json]] | None = None) -> None:
        self.responses = responses or {}

    def conversation(self, response_id: str) -> list[Json]:
        if response_id not in self.responses:
            raise NotFound(f"Response with id '{response_id}' not found.")
        return self.responses[response_id]

    def find_items(self, item_ids: set[str]) -> dict[str, Json]:
        return {item["id"]: item for items in self.responses.values() for item in items if item["id"] in item_ids}


def responses_call(
    *,
    history: MemoryHistory | None = None,
    settings: DialectSettings | None = None,
    **members: object,
) -> ResponsesCall:
    body = encoded(**{"model": "m", "input": "hi", **members})
    return parse_responses(
        body, request_id="r1", settings=settings or DialectSettings(), history=history or MemoryHistory()
    )


def responses_stream(call: ResponsesCall, saved: list[bytes] | None = None) -> ResponsesStream:
    return ResponsesStream(call, lambda: NOW, ([] if saved is None else saved).append)


def validated_events(frames: bytes) -> list[Json]:
    """The events, which the SDK's own models accept in strict mode. Each has a name, and they are numbered."""
    *events, rest = frames.decode("ascii").split("\n\n")
    assert rest == ""
    found = []
    for number, event in enumerate(events):
        name, data = event.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        assert value["sequence_number"] == number
        EVENT_MODELS[value["type"]].model_validate_json(json.dumps(value), strict=True)
        found.append(value)
    return found


def validated_response(body: bytes) -> Json:
    """The response, which the SDK's own model accepts in strict mode."""
    Response.model_validate_json(body, strict=True)
    response: Json = json.loads(body)
    return response


def types_of(events: Iterable[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]
