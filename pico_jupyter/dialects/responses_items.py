"""Declares the input items of v1/responses, and turns them into messages."""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Protocol, TypeAlias, assert_never

from msgspec.structs import replace

from pico_jupyter.dialects.messages import read_content
from pico_jupyter.dialects.request_bodies import JsonObject, json_text
from pico_jupyter.dialects.request_errors import invalid
from pico_jupyter.dialects.request_fields import Content, Name, RequestStruct, about
from pico_jupyter.dialects.responses_tools import CUSTOM_INPUT, qualified_name
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import Message, Part, TextPart, ToolCall

# The prefix of encrypted_content from this server. Other servers encrypt the text, so it cannot be read here.
_PACKED = "pico:"


class ResponsesInputMessage(RequestStruct, frozen=True, tag_field="type", tag="message"):
    """A turn of the conversation. `type` may be omitted."""

    ignored = frozenset({"id", "phase", "status"})
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Content


class ResponsesPastText(RequestStruct, frozen=True):
    """A piece of the reasoning of an earlier answer."""

    ignored = frozenset({"type"})
    text: str


class ResponsesPastReasoning(RequestStruct, frozen=True, tag_field="type", tag="reasoning"):
    """The reasoning of an earlier answer, for chat templates that use it."""

    ignored = frozenset({"id", "status"})
    summary: Annotated[list[ResponsesPastText] | None, about("Used without content and encrypted_content.")] = None
    content: list[ResponsesPastText] | None = None
    encrypted_content: Annotated[str | None, about("Used without content, if it is from this server.")] = None


class ResponsesPastCall(RequestStruct, frozen=True, tag_field="type", tag="function_call"):
    """A tool call of an earlier answer. Text in `arguments` that is not JSON is kept."""

    ignored = frozenset({"async", "caller", "created_by", "id", "status"})
    call_id: Annotated[Name, about("The tool's result has the same call_id.")]
    name: Name
    arguments: str
    namespace: Annotated[str | None, about("The namespace that has the tool.")] = None


class ResponsesPastCustomCall(RequestStruct, frozen=True, tag_field="type", tag="custom_tool_call"):
    """A call of a custom tool in an earlier answer."""

    ignored = frozenset({"async", "caller", "created_by", "id", "status"})
    call_id: Annotated[Name, about("The tool's result has the same call_id.")]
    name: Name
    input: str
    namespace: Annotated[str | None, about("The namespace that has the tool.")] = None


class ResponsesCallResult(RequestStruct, frozen=True, tag_field="type", tag="function_call_output"):
    """The result of a tool call: text and images."""

    ignored = frozenset({"caller", "created_by", "id", "name", "namespace", "status"})
    call_id: Annotated[Name, about("The call_id of the tool call.")]
    output: str | Content


class ResponsesCustomCallResult(ResponsesCallResult, frozen=True, tag="custom_tool_call_output"):
    """The result of a call of a custom tool."""


class ResponsesItemReference(RequestStruct, frozen=True, tag_field="type", tag="item_reference"):
    """Stands for an item of a stored response."""

    id: Name


ResponsesItem: TypeAlias = (
    ResponsesInputMessage
    | ResponsesPastReasoning
    | ResponsesPastCall
    | ResponsesCallResult
    | ResponsesPastCustomCall
    | ResponsesCustomCallResult
    | ResponsesItemReference
)


class ResponseHistory(Protocol):
    """The stored responses of one user."""

    def conversation(self, response_id: str) -> list[JsonObject]:
        """Return the items of a response and of all responses before it. Raises NotFound."""
        ...

    def find_items(self, item_ids: set[str]) -> dict[str, JsonObject]:
        """Return the stored ones of these items, by their ids."""
        ...


def prepare_input(raw: JsonObject, history: ResponseHistory) -> None:
    """Add the `type` to messages in the decoded body's `input`, and replace item references. Raises InvalidRequest."""
    items = raw.get("input")
    if not isinstance(items, list):
        return
    references = {}
    for i, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        if item.get("type") is None and "role" in item:
            item["type"] = "message"
        if item.get("type") == "item_reference" and isinstance(item.get("id"), str):
            references[i] = item["id"]
    found = history.find_items(set(references.values())) if references else {}
    for i, item_id in references.items():
        if item_id not in found:
            raise _missing_item(f"input[{i}].id", item_id)
        items[i] = found[item_id]


def stored_input(value: str | list[JsonObject] | None, request_id: str) -> bytes:
    """Return the items of `input` as JSON, in the form in which the API lists them. Each item has an id."""
    if isinstance(value, str):
        value = [{"type": "message", "role": "user", "content": value}]
    items = [_listed_item(item, f"{request_id}_{i}") for i, item in enumerate(value or ())]
    return json_text(items, "input").encode()


def read_items(items: Sequence[ResponsesItem], param: str, model: str) -> list[Message]:
    """Return the items of the field `param` as messages. The items of one answer become one message.

    Raises InvalidRequest for media that are not valid, and MediaUnsupported for audio and files.
    """
    messages = [_read_item(item, f"{param}[{i}]", model) for i, item in enumerate(items)]
    return list(_move_media(_join_answers(messages)))


def pack_reasoning(text: str) -> str:
    """Return reasoning as encrypted_content. It is encoded and not encrypted, because the client may read it."""
    return _PACKED + b2a_base64(text.encode(), newline=False).decode()


def _unpack_reasoning(packed: str) -> str:
    try:
        return a2b_base64(packed.removeprefix(_PACKED), strict_mode=True).decode() if packed.startswith(_PACKED) else ""
    except (Base64Error, ValueError):
        return ""


def _listed_item(item: JsonObject, suffix: str) -> JsonObject:
    kind = item.get("type")
    prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}.get(
        str(kind), "out"
    )
    given = item.get("id")
    listed: JsonObject = {**item, "id": given if given and isinstance(given, str) else f"{prefix}_{suffix}"}
    if kind != "reasoning":
        listed["status"] = "completed"
    if kind == "message":
        is_answer = item["role"] == "assistant"
        parts = item["content"]
        if isinstance(parts, str):
            parts = [{"type": "output_text" if is_answer else "input_text", "text": parts}]
        listed["content"] = [_listed_part(part) for part in parts]
    return listed


def _listed_part(part: JsonObject) -> JsonObject:
    match part.get("type"):
        case "output_text":
            return {"annotations": [], **part}
        case "input_image":
            return {"detail": "auto", **part}
        case _:
            return part


def _read_item(item: ResponsesItem, param: str, model: str) -> Message:
    match item:
        case ResponsesInputMessage(role=role):
            content = read_content(item.content, param, model, media_allowed=role == "user")
            return Message("system" if role == "developer" else role, content)
        case ResponsesPastReasoning():
            return Message("assistant", reasoning=_reasoning_text(item) or None)
        case ResponsesPastCall():
            return _call_message(item, item.arguments)
        case ResponsesPastCustomCall():
            return _call_message(item, json_text({CUSTOM_INPUT: item.input}, f"{param}.input"))
        case ResponsesCallResult():
            content = read_content(item.output, param, model, field="output")
            return Message("tool", content, tool_call_id=item.call_id)
        case ResponsesItemReference():
            raise _missing_item(f"{param}.id", item.id)
        case _:
            assert_never(item)


def _missing_item(param: str, item_id: str) -> InvalidRequest:
    return invalid(param, f"Item with id '{item_id[:64]}' not found.")


def _call_message(item: ResponsesPastCall | ResponsesPastCustomCall, arguments: str) -> Message:
    call = ToolCall(item.call_id, qualified_name(item.namespace, item.name), arguments)
    return Message("assistant", tool_calls=(call,))


def _reasoning_text(item: ResponsesPastReasoning) -> str:
    packed = _unpack_reasoning(item.encrypted_content or "")
    return _joined(item.content) or packed or _joined(item.summary)


def _joined(parts: list[ResponsesPastText] | None) -> str:
    return "\n".join(part.text for part in parts or ())


def _join_answers(messages: Sequence[Message]) -> list[Message]:
    """Join the items of each answer to one message. Their order is reasoning, text, calls."""
    joined: list[Message] = []
    for message in messages:
        last = joined[-1] if joined else None
        if last is None or last.role != "assistant" or message.role != "assistant" or not _continues(last, message):
            joined.append(message)
            continue
        calls = last.tool_calls + message.tool_calls
        joined[-1] = replace(last, content=last.content + message.content, tool_calls=calls)
    return joined


def _continues(last: Message, message: Message) -> bool:
    is_text = not message.reasoning and not message.tool_calls
    return bool(message.tool_calls) or (is_text and not last.content and not last.tool_calls)


def _move_media(messages: Sequence[Message]) -> Iterator[Message]:
    """Move the images of tool results into a user message after them. All chat templates accept images there."""
    moved: tuple[Part, ...] = ()
    for message in messages:
        if moved and message.role != "tool":
            yield Message("user", moved)
            moved = ()
        if message.role != "tool":
            yield message
            continue
        moved += tuple(part for part in message.content if not isinstance(part, TextPart))
        yield replace(message, content=tuple(part for part in message.content if isinstance(part, TextPart)))
    if moved:
        yield Message("user", moved)
