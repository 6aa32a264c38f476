"""Lists the endpoints of v1/responses for the OpenAPI document."""

from __future__ import annotations

from pico_jupyter.dialects import responses_answer_schema, responses_request
from pico_jupyter.dialects.openapi_operation import ACCESS_ERRORS, GENERATE_ERRORS, Operation
from pico_jupyter.errors import InvalidRequest, RequestTooLarge

RESPONSES_OPERATIONS = (
    Operation(
        "post",
        "v1/responses",
        "OpenAI",
        "Answer input items. Streams if `stream` is true; the last event is that of the whole response.",
        (responses_request.ResponsesRequest,),
        responses_answer_schema.ResponsesObject,
        responses_answer_schema.EVENTS,
        GENERATE_ERRORS,
    ),
    Operation(
        "get",
        "v1/responses/{response_id}",
        "OpenAI",
        "Return a stored response.",
        answer=responses_answer_schema.ResponsesObject,
        errors=(*ACCESS_ERRORS, InvalidRequest),
        head=True,
    ),
    Operation(
        "delete",
        "v1/responses/{response_id}",
        "OpenAI",
        "Remove a stored response.",
        answer=responses_answer_schema.ResponsesDeleted,
        errors=(*ACCESS_ERRORS, RequestTooLarge),
    ),
    Operation(
        "get",
        "v1/responses/{response_id}/input_items",
        "OpenAI",
        "List what a stored response answers: the latest 20 items, unless `limit`, `order` and `after` say otherwise.",
        answer=responses_answer_schema.ResponsesInputList,
        errors=(*ACCESS_ERRORS, InvalidRequest),
        head=True,
    ),
)
