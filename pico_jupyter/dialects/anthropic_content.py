"""Declares the content blocks of Anthropic's messages, and turns each message into messages for the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeAlias, assert_never

from msgspec import Meta

from pico_jupyter.dialects.media import read_image_part
from pico_jupyter.dialects.request_bodies import json_text
from pico_jupyter.dialects.request_fields import ImagePartFields, Name, RequestStruct, about
from pico_jupyter.types import Message, Part, TextPart, ToolCall

ERROR_PREFIX = "Error: "
_CACHE = frozenset({"cache_control"})


class AnthropicText(RequestStruct, frozen=True, tag_field="type", tag="text"):
    """A piece of text."""

    ignored = _CACHE | {"citations"}
    text: str


class Base64Source(RequestStruct, frozen=True, kw_only=True, tag_field="type", tag="base64"):
    """The bytes of an image in base64."""

    media_type: Annotated[str | None, about("The MIME type, such as image/png.")] = None
    data: str


class UrlSource(RequestStruct, frozen=True, tag_field="type", tag="url"):
    """The address of an image."""

    url: str


class PlainTextSource(RequestStruct, frozen=True, tag_field="type", tag="text"):
    """A document of plain text."""

    ignored = frozenset({"media_type"})
    data: str


class BlocksSource(RequestStruct, frozen=True, tag_field="type", tag="content"):
    """A document of text blocks."""

    content: str | list[AnthropicText]


class AnthropicImage(RequestStruct, frozen=True, tag_field="type", tag="image"):
    """An image, for models with the capability vision."""

    ignored = _CACHE | {"transformations"}
    source: Base64Source | UrlSource


class AnthropicDocument(RequestStruct, frozen=True, tag_field="type", tag="document"):
    """A document of text. Its title and context precede the text. Other documents, such as PDF files, are refused."""

    ignored = _CACHE | {"citations"}
    source: PlainTextSource | BlocksSource
    title: str | None = None
    context: str | None = None


class AnthropicSearchResult(RequestStruct, frozen=True, tag_field="type", tag="search_result"):
    """A text with its source and title."""

    ignored = _CACHE | {"citations"}
    source: str
    title: str
    content: list[AnthropicText]


class AnthropicThinking(RequestStruct, frozen=True, tag_field="type", tag="thinking"):
    """The reasoning of an earlier answer, for chat templates that use it. The signature is not checked."""

    ignored = frozenset({"signature"})
    thinking: str


class RedactedThinking(RequestStruct, frozen=True, tag_field="type", tag="redacted_thinking"):
    """Reasoning that another server encrypted. It is left out."""

    ignored = frozenset({"data"})


class AnthropicToolUse(RequestStruct, frozen=True, tag_field="type", tag="tool_use"):
    """A tool call in an earlier answer."""

    ignored = _CACHE | {"caller", "toolset_name"}
    id: str
    name: Name
    input: dict[str, Any]


class ToolReferenceBlock(RequestStruct, frozen=True, tag_field="type", tag="tool_reference"):
    """The name of a tool that a search for tools has found, read as text."""

    ignored = _CACHE
    tool_name: str


ResultBlock: TypeAlias = AnthropicText | AnthropicImage | AnthropicDocument | AnthropicSearchResult | ToolReferenceBlock


class AnthropicToolResult(RequestStruct, frozen=True, tag_field="type", tag="tool_result"):
    """The result of a tool call."""

    ignored = _CACHE | {"toolset_name"}
    tool_use_id: str
    content: str | list[ResultBlock] | None = None
    is_error: Annotated[bool | None, about("true: the model reads the result after the word Error.")] = None


UserBlock: TypeAlias = AnthropicText | AnthropicImage | AnthropicDocument | AnthropicSearchResult | AnthropicToolResult
AssistantBlock: TypeAlias = AnthropicText | AnthropicThinking | RedactedThinking | AnthropicToolUse


class AnthropicSystemMessage(RequestStruct, frozen=True, tag_field="role", tag="system"):
    """Instructions in the middle of a conversation. They are joined to the leading ones."""

    content: str | list[AnthropicText]


class AnthropicUserMessage(RequestStruct, frozen=True, tag_field="role", tag="user"):
    """The user's turn, or the results of tool calls."""

    content: str | list[UserBlock]


class AnthropicAssistantMessage(RequestStruct, frozen=True, tag_field="role", tag="assistant"):
    """An earlier answer. If it is the last message, the model continues its text."""

    content: str | list[AssistantBlock]


AnthropicMessage: TypeAlias = AnthropicUserMessage | AnthropicAssistantMessage | AnthropicSystemMessage
Messages: TypeAlias = Annotated[list[AnthropicMessage], Meta(min_length=1)]


def read_anthropic_message(message: AnthropicMessage, param: str) -> list[Message]:
    """Return the messages that the chat template gets. A user's turn becomes one message for each tool result, and one
    for the other blocks. Raises InvalidRequest.
    """
    match message:
        case AnthropicSystemMessage():
            return [Message("system", read_text(message.content))]
        case AnthropicUserMessage(content=content):
            if isinstance(content, str):
                return [Message("user", _text_parts(content))]
            return list(_read_user_blocks(content, param))
        case AnthropicAssistantMessage():
            return [_read_answer(message, param)]
        case _:
            assert_never(message)


def read_text(content: str | Sequence[AnthropicText]) -> tuple[Part, ...]:
    """Return the parts of instructions, which are a text or blocks of text. Each block is a paragraph."""
    if isinstance(content, str):
        return _text_parts(content)
    return _text_parts("\n\n".join(block.text for block in content if block.text))


def _read_user_blocks(blocks: Sequence[UserBlock], param: str) -> Iterator[Message]:
    content: list[Part] = []
    for i, block in enumerate(blocks):
        place = f"{param}.content[{i}]"
        if isinstance(block, AnthropicToolResult):
            yield Message("tool", tuple(_read_result(block, place)), tool_call_id=block.tool_use_id)
        else:
            content.append(_read_block(block, place))
    has_results = any(isinstance(block, AnthropicToolResult) for block in blocks)
    if content or not has_results:
        yield Message("user", tuple(content))


def _read_result(result: AnthropicToolResult, param: str) -> Iterator[Part]:
    if result.is_error:
        yield TextPart(ERROR_PREFIX)
    if isinstance(result.content, str):
        yield from _text_parts(result.content)
        return
    for i, block in enumerate(result.content or ()):
        yield _read_block(block, f"{param}.content[{i}]")


def _read_block(block: ResultBlock, param: str) -> Part:
    match block:
        case AnthropicText(text=text):
            return TextPart(text)
        case AnthropicImage(source=source):
            return read_image_part(ImagePartFields(image_url=_url(source)), param)
        case AnthropicDocument():
            return TextPart(_document_text(block))
        case AnthropicSearchResult():
            texts = "\n".join(piece.text for piece in block.content)
            return TextPart(f"{block.title}\n{block.source}\n{texts}\n")
        case ToolReferenceBlock(tool_name=name):
            return TextPart(name)
        case _:
            assert_never(block)


def _url(source: Base64Source | UrlSource) -> str:
    if isinstance(source, Base64Source):
        return f"data:{source.media_type or 'image/png'};base64,{source.data}"
    return source.url


def _document_text(document: AnthropicDocument) -> str:
    source = document.source
    content = source.data if isinstance(source, PlainTextSource) else source.content
    body = content if isinstance(content, str) else "\n".join(block.text for block in content)
    return "\n".join(text for text in (document.title, document.context, body) if text) + "\n"


def _read_answer(message: AnthropicAssistantMessage, param: str) -> Message:
    if isinstance(message.content, str):
        return Message("assistant", _text_parts(message.content))
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for i, block in enumerate(message.content):
        match block:
            case AnthropicText(text=text):
                texts.append(text)
            case AnthropicThinking(thinking=text):
                thoughts.append(text)
            case AnthropicToolUse():
                arguments = json_text(block.input, f"{param}.content[{i}].input")
                calls.append(ToolCall(block.id, block.name, arguments))
            case RedactedThinking():
                pass
            case _:
                assert_never(block)
    reasoning = "\n".join(text for text in thoughts if text)
    return Message("assistant", _text_parts("".join(texts)), reasoning=reasoning or None, tool_calls=tuple(calls))


def _text_parts(text: str) -> tuple[Part, ...]:
    return (TextPart(text),) if text else ()
