"""Lists the endpoints for prompts without a chat template and for tokens for the OpenAPI document."""

from __future__ import annotations

from pico_jupyter.dialects import completions_schema as schema
from pico_jupyter.dialects.completions_request import OpenAICompletionRequest
from pico_jupyter.dialects.openai_request import OpenAIChatRequest
from pico_jupyter.dialects.openapi_operation import GENERATE_ERRORS, POST_ERRORS, Operation
from pico_jupyter.dialects.token_requests import DetokenizeRequest, TokenizeChatRequest, TokenizeTextRequest
from pico_jupyter.errors import EngineFailed, ModelLoadFailed

_TOKEN_ERRORS = (*POST_ERRORS, ModelLoadFailed, EngineFailed)

COMPLETIONS_OPERATIONS = (
    Operation(
        "post",
        "v1/completions",
        "OpenAI",
        "Continue texts without a chat template. Streams if `stream` is true.",
        (OpenAICompletionRequest,),
        schema.TextCompletion,
        schema.TextCompletion,
        errors=GENERATE_ERRORS,
    ),
    Operation(
        "post",
        "v1/tokenize",
        "OpenAI",
        "Tokenize a text, or a chat as the chat template renders it.",
        (TokenizeTextRequest, TokenizeChatRequest),
        schema.TokenizeAnswer,
        errors=_TOKEN_ERRORS,
    ),
    Operation(
        "post",
        "v1/detokenize",
        "OpenAI",
        "Return the text of tokens.",
        (DetokenizeRequest,),
        schema.DetokenizeAnswer,
        errors=_TOKEN_ERRORS,
    ),
    Operation(
        "post",
        "v1/chat/completions/render",
        "OpenAI",
        "Return the text and the tokens of a chat, as the chat template renders it.",
        (OpenAIChatRequest,),
        schema.RenderAnswer,
        errors=_TOKEN_ERRORS,
    ),
)
