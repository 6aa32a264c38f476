"""Declares the requests about tokens, parses them, and writes their answers: tokenize, detokenize, render."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pico_jupyter.dialects.completions_request import PromptToken
from pico_jupyter.dialects.completions_schema import DetokenizeAnswer, RenderAnswer, TokenizeAnswer
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.framing import encode_json
from pico_jupyter.dialects.openai_request import OpenAIChatRequest, parse_openai_chat
from pico_jupyter.dialects.request_bodies import decode_fields, decode_object
from pico_jupyter.dialects.request_errors import invalid
from pico_jupyter.dialects.request_fields import ModelNameOrEmpty, RequestStruct, about
from pico_jupyter.questions import DetokenizePrompt, PromptTokens, TokenizePrompt
from pico_jupyter.types import ChatPrompt, CompletionPrompt, GenerationRequest, TextPart

_MODEL = about("A name from the list of models. Omitted: default_model.")
_TEXTS = about("Whether the answer has the text of each token.")


class TokenizeTextRequest(RequestStruct, frozen=True, kw_only=True):
    """A text to tokenize, as v1/completions reads it."""

    model: Annotated[ModelNameOrEmpty | None, _MODEL] = None
    prompt: Annotated[str, about("The text.")]
    add_special_tokens: Annotated[bool | None, about("false: no BOS token.")] = None
    return_token_strs: Annotated[bool | None, _TEXTS] = None


class TokenizeChatRequest(OpenAIChatRequest, frozen=True, kw_only=True):
    """A chat to render and tokenize. Has all fields of v1/chat/completions; those of the answer have no effect."""

    return_token_strs: Annotated[bool | None, _TEXTS] = None


class DetokenizeRequest(RequestStruct, frozen=True, kw_only=True):
    """Tokens of which the text is wanted."""

    model: Annotated[ModelNameOrEmpty | None, _MODEL] = None
    tokens: Annotated[list[PromptToken], Meta(description="The tokens.")]


def parse_tokenize(body: bytes, *, request_id: str, settings: DialectSettings) -> TokenizePrompt:
    """Parse the body of a POST to v1/tokenize, which is a text or a chat. Raises InvalidRequest."""
    raw = decode_object(body)
    if raw.get("messages") is not None:
        chat = decode_fields(raw, TokenizeChatRequest)
        return TokenizePrompt(_read_chat(body, request_id, settings), token_texts=chat.return_token_strs is True)
    fields = decode_fields(raw, TokenizeTextRequest)
    prompt = CompletionPrompt(fields.prompt, special_tokens=fields.add_special_tokens is not False)
    request = GenerationRequest(request_id, _model(fields.model, settings), prompt)
    return TokenizePrompt(request, token_texts=fields.return_token_strs is True)


def parse_render(body: bytes, *, request_id: str, settings: DialectSettings) -> TokenizePrompt:
    """Parse the body of a POST to v1/chat/completions/render, which is a chat. Raises InvalidRequest."""
    return TokenizePrompt(_read_chat(body, request_id, settings))


def parse_detokenize(body: bytes, *, settings: DialectSettings) -> DetokenizePrompt:
    """Parse the body of a POST to v1/detokenize. Raises InvalidRequest."""
    fields = decode_fields(decode_object(body), DetokenizeRequest)
    return DetokenizePrompt(_model(fields.model, settings), tuple(fields.tokens))


def tokenize_answer(found: PromptTokens, question: TokenizePrompt) -> bytes:
    """Encode the answer of v1/tokenize."""
    texts = list(found.token_texts) if question.token_texts else None
    return encode_json(TokenizeAnswer(len(found.tokens), found.context_length, list(found.tokens), texts))


def render_answer(found: PromptTokens) -> bytes:
    """Encode the answer of v1/chat/completions/render."""
    return encode_json(RenderAnswer(found.text, list(found.tokens), len(found.tokens), found.context_length))


def detokenize_answer(text: str) -> bytes:
    """Encode the answer of v1/detokenize."""
    return encode_json(DetokenizeAnswer(text))


def _read_chat(body: bytes, request_id: str, settings: DialectSettings) -> GenerationRequest:
    call = parse_openai_chat(body, request_id=request_id, path="v1/chat", accept="", settings=settings)
    prompt = call.request.prompt
    assert isinstance(prompt, ChatPrompt)
    for part in (part for message in prompt.messages for part in message.content):
        if not isinstance(part, TextPart):
            raise invalid(part.param, "images and videos have no token ids", "unsupported_value")
    return call.request


def _model(name: str | None, settings: DialectSettings) -> str:
    if not (name or settings.default_model):
        raise invalid("model", "model is required", "missing_required_parameter")
    return name or settings.default_model
