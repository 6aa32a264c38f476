"""Lists the endpoints of the Anthropic dialect for the OpenAPI document."""

from __future__ import annotations

from pico_jupyter.dialects import anthropic_answer_schema as schema
from pico_jupyter.dialects.anthropic_request import AnthropicRequest
from pico_jupyter.dialects.openapi_operation import GENERATE_ERRORS, POST_ERRORS, Operation
from pico_jupyter.errors import EngineFailed, ModelLoadFailed

ANTHROPIC_OPERATIONS = (
    Operation(
        "post",
        "v1/messages",
        "Anthropic",
        "Answer a conversation. Streams if `stream` is true; the last event is `message_stop`.",
        (AnthropicRequest,),
        schema.AnthropicAnswer,
        schema.EVENTS,
        errors=GENERATE_ERRORS,
    ),
    Operation(
        "post",
        "v1/messages/count_tokens",
        "Anthropic",
        "Count the tokens of a conversation, as the chat template renders it.",
        (AnthropicRequest,),
        schema.TokenCount,
        errors=(*POST_ERRORS, ModelLoadFailed, EngineFailed),
    ),
)
