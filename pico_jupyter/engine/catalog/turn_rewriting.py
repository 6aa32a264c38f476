"""Rewrites conversations for chat templates that refuse some turns or omit their texts.

HistoryFormat names the rewritings that a template needs. They are applied to every conversation of the model, and
change only such turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from pico_jupyter.engine.catalog.content_format import Content

TemplateMessage: TypeAlias = dict[str, Any]
Rewriting: TypeAlias = Callable[[Sequence[TemplateMessage]], list[TemplateMessage]]

PARAGRAPH = "\n\n"
# The fields in which templates read the reasoning of a past answer.
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
# Not empty, because the template of Ministral 3 refuses an empty answer.
_BLANK = " "


def join_contents(contents: Sequence[Content], separator: str = PARAGRAPH) -> Content:
    """Join contents, by default as paragraphs. Returns a string if all are strings, otherwise a list of parts.

    Adjacent texts become one part, because LLaVA-NeXT's template prints only the first part of some messages.
    """
    contents = [content for content in contents if content]
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return separator.join(texts)
    joined: list[dict[str, str]] = []
    for content in contents:
        first, *rest = [_text_part(content)] if isinstance(content, str) else content
        if joined and first["type"] == joined[-1]["type"] == "text":
            first = _text_part(joined.pop()["text"] + separator + first["text"])
        elif joined and separator:
            joined.append(_text_part(separator))
        joined += [first, *rest]
    return joined


def fill_answers(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Give a blank text to each answer that has no text, no calls and no reasoning."""
    is_empty = [
        m["role"] == "assistant" and not any(m.get(key) for key in ("content", "tool_calls", *REASONING_KEYS))
        for m in messages
    ]
    return [_with_text(m, messages, _BLANK) if empty else m for m, empty in zip(messages, is_empty, strict=True)]


def free_lone_results(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Turn each tool result that does not follow its call into a user message."""
    freed: list[TemplateMessage] = []
    called: set[str] = set()
    for message in messages:
        if message["role"] != "tool":
            called = {call["id"] for call in message.get("tool_calls", ())}
        is_lone = message["role"] == "tool" and message.get("tool_call_id") not in called
        freed.append({"role": "user", "content": mark_result(message["content"])} if is_lone else message)
    return freed


def mark_result(content: Content) -> Content:
    """The content of a tool result with tags around it, for a user message."""
    return join_contents(["<tool_response>\n", content, "\n</tool_response>"], "")


def add_blank_answers(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Insert a blank answer before a user message that follows tool calls or tool results."""
    answered: list[TemplateMessage] = []
    for message in messages:
        last = answered[-1] if answered else {}
        if message["role"] == "user" and (last.get("role") == "tool" or last.get("tool_calls")):
            answered.append(_with_text({"role": "assistant"}, messages, _BLANK))
        answered.append(message)
    return answered


def begin_with_question(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Insert an empty user message before an answer that begins the conversation."""
    start = _system_length(messages)
    is_answer = len(messages) > start and messages[start]["role"] == "assistant"
    return _with_question(messages, start) if is_answer else list(messages)


def add_question(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Insert an empty user message at the start of a conversation without user messages."""
    has_question = any(message["role"] == "user" for message in messages)
    return list(messages) if has_question else _with_question(messages, _system_length(messages))


def move_system_text(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Move the text of the system message into the first user message."""
    if not _system_length(messages):
        return list(messages)
    system, *rest = messages
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system["content"]}, *rest]
    return [{**rest[0], "content": join_contents([system["content"], rest[0]["content"]])}, *rest[1:]]


def move_passed_system_text(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Apply move_system_text(), unless the last message is a user message.

    Mistral Nemo prints a system message only before a user message that is the last message.
    """
    return list(messages) if messages[-1]["role"] == "user" else move_system_text(messages)


def merge_roles(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Merge consecutive messages of one role. Tool results, and texts after calls, stay apart."""
    merged: list[TemplateMessage] = []
    for message in messages:
        last = merged[-1] if merged else {}
        is_after_calls = last.get("tool_calls") and not message.get("tool_calls")
        if last.get("role") != message["role"] or message["role"] == "tool" or is_after_calls:
            merged.append(message)
        else:
            merged[-1] = _merge(last, message)
    return merged


def fold_reasoning(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Append the content of messages with calls to their reasoning. There gpt-oss accepts only content or reasoning."""
    return [_fold(message) for message in messages]


def split_call_texts(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Move the text of a message with tool calls into a separate answer before it."""
    return [part for message in messages for part in _split(message)]


def separate_call_texts(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Insert an empty user message between a text and calls. Mistral's templates do not count calls as a turn."""
    separated: list[TemplateMessage] = []
    for message in messages:
        follows_text = bool(separated) and separated[-1]["role"] == "assistant" and not separated[-1].get("tool_calls")
        if follows_text and message.get("tool_calls"):
            separated.append(_with_text({"role": "user"}, messages, ""))
        separated.append(message)
    return separated


# In the order in which they are applied.
REWRITINGS: tuple[Rewriting, ...] = (
    fill_answers,
    free_lone_results,
    begin_with_question,
    add_question,
    move_passed_system_text,
    move_system_text,
    merge_roles,
    add_blank_answers,
    fold_reasoning,
    split_call_texts,
    separate_call_texts,
)


def rewrite(messages: Sequence[TemplateMessage], rewritings: Sequence[Rewriting]) -> list[TemplateMessage]:
    """Apply `rewritings` to the messages."""
    rewritten = list(messages)
    for rewriting in rewritings:
        rewritten = rewriting(rewritten)
    return rewritten


def _system_length(messages: Sequence[TemplateMessage]) -> int:
    return int(bool(messages) and messages[0]["role"] == "system")


def _with_question(messages: Sequence[TemplateMessage], index: int) -> list[TemplateMessage]:
    return [*messages[:index], _with_text({"role": "user"}, messages, ""), *messages[index:]]


def _with_text(message: TemplateMessage, messages: Sequence[TemplateMessage], text: str) -> TemplateMessage:
    """The message with `text` as its content, which is a list of parts if another message has a list of parts."""
    is_list = any(isinstance(other.get("content"), list) for other in messages)
    return {**message, "content": [_text_part(text)] if is_list else text}


def _text_part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _split(message: TemplateMessage) -> list[TemplateMessage]:
    if not message["content"] or not message.get("tool_calls"):
        return [message]
    content = message["content"]
    return [{"role": "assistant", "content": content}, {**message, "content": "" if isinstance(content, str) else []}]


def _fold(message: TemplateMessage) -> TemplateMessage:
    key = next((key for key in REASONING_KEYS if message.get(key)), None)
    content = message["content"]
    if key is None or not message.get("tool_calls") or not content or not isinstance(content, str):
        return message
    return {**message, key: message[key] + PARAGRAPH + content, "content": ""}


def _merge(first: TemplateMessage, second: TemplateMessage) -> TemplateMessage:
    contents = [message["content"] for message in (first, second)]
    merged: TemplateMessage = {"role": first["role"], "content": join_contents(contents)}
    for key in REASONING_KEYS:
        if reasoning := [message[key] for message in (first, second) if message.get(key)]:
            merged[key] = PARAGRAPH.join(reasoning)
    if calls := [*first.get("tool_calls", ()), *second.get("tool_calls", ())]:
        merged["tool_calls"] = calls
    return merged
