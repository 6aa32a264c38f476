"""Converts the messages of a conversation into the dicts that chat templates expect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pico_jupyter.engine.catalog.content_format import Content
from pico_jupyter.engine.catalog.history_format import THINKING_PART, HistoryFormat
from pico_jupyter.engine.catalog.turn_rewriting import PARAGRAPH, TemplateMessage, join_contents, mark_result
from pico_jupyter.engine.formats.call_formats import CallFormat
from pico_jupyter.engine.formats.output_format import OutputFormat
from pico_jupyter.engine.preparation.call_history import calls_as_text
from pico_jupyter.engine.preparation.control_text import ControlText
from pico_jupyter.engine.text.call_arguments import arguments_as_text, parse_arguments
from pico_jupyter.types import Message, Part, TextPart, ToolCall


def text_of(parts: Sequence[Part]) -> str:
    """The joined texts of a message's content, without its media."""
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def system_text(messages: Sequence[Message]) -> str:
    """The texts of all system messages, one paragraph each."""
    return PARAGRAPH.join(text_of(message.content) for message in messages if message.role == "system")


def merge_system_messages(messages: Sequence[Message]) -> list[Message]:
    """Merge all system messages into one at the start, the only place where templates accept one."""
    if all(message.role != "system" for message in messages):
        return list(messages)
    merged = Message("system", (TextPart(system_text(messages)),))
    return [merged, *(message for message in messages if message.role != "system")]


def shortened_conversations(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Yield the conversation without its oldest turn, then without its two oldest, and so on.

    The last turn first loses its oldest answers, which are calls with their results, and finally its question. The
    system message and the last message are kept.
    """
    system = [message for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    questions = [index for index, message in enumerate(others) if message.role == "user"]
    yield from ([*system, *others[start:]] for start in questions if start)
    if questions:
        question = questions[-1]
        answers = (start for start in range(question + 2, len(others)) if others[start].role == "assistant")
        yield from ([*system, others[question], *others[start:]] for start in answers)
    if len(others) > 1 and others[-1].role != "user":
        yield [*system, others[-1]]


@dataclass(frozen=True, slots=True)
class MessageForm:
    """How messages are converted for one chat template.

    `texts` escapes control tokens in texts. `answers` escapes them in past answers, except the tags of reasoning and of
    tool calls. `content_of` converts the parts of one message. `calls_as_text`: the template prints no calls, so they
    become text in the format `call_format`. `results_as_text`: tool results become user messages.
    """

    output_format: OutputFormat
    history: HistoryFormat
    texts: ControlText
    answers: ControlText
    content_of: Callable[[Sequence[Part]], Content]
    call_format: CallFormat
    calls_as_text: bool
    results_as_text: bool


def template_messages(messages: Sequence[Message], form: MessageForm) -> Iterator[TemplateMessage]:
    """The messages as a chat template expects them.

    A tool result without a name gets the name of the latest tool call with the same id.
    """
    names: dict[str, str] = {}
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        if message.role == "tool":
            yield _template_result(message, message.name or names.get(message.tool_call_id or ""), form)
        else:
            yield _template_message(message, form)


def _template_message(message: Message, form: MessageForm) -> TemplateMessage:
    control = form.answers if message.role == "assistant" else form.texts
    reasoning, content = _split_reasoning(message, form.output_format)
    parts = tuple(_escape_parts(content, control))
    calls = [_PastCall.read(call, form.texts) for call in message.tool_calls]
    if calls and form.calls_as_text:
        text = calls_as_text([(call.call, call.arguments) for call in calls], form.call_format)
        parts = (*parts, TextPart("\n" + text if text_of(parts) else text))
    converted: TemplateMessage = {"role": message.role, "content": form.content_of(parts)}
    if reasoning is not None:
        _add_reasoning(converted, form.texts.escape(reasoning), form.history.reasoning_key)
    if calls and not form.calls_as_text:
        converted["tool_calls"] = [call.template_call(form) for call in calls]
    if message.name is not None:
        converted["name"] = form.texts.escape(message.name)
    return converted


def _template_result(message: Message, name: str | None, form: MessageForm) -> TemplateMessage:
    parts = tuple(_escape_parts(message.content, form.texts))
    if form.results_as_text:
        return {"role": "user", "content": mark_result(form.content_of(parts))}
    converted: TemplateMessage = {"role": "tool", "content": form.content_of(parts)}
    if message.tool_call_id is not None:
        converted["tool_call_id"] = form.texts.escape(message.tool_call_id)
    if name is not None:
        converted["name"] = form.texts.escape(name)
    return converted


@dataclass(frozen=True, slots=True)
class _PastCall:
    """A past call without control tokens, and its arguments."""

    call: ToolCall
    arguments: dict[str, Any]

    @classmethod
    def read(cls, call: ToolCall, texts: ControlText) -> _PastCall:
        arguments = parse_arguments(call.arguments)
        text = texts.escape(arguments_as_text(call.arguments, arguments))
        return cls(ToolCall(texts.escape(call.id), texts.escape(call.name), text), texts.escape(arguments))

    def template_call(self, form: MessageForm) -> dict[str, Any]:
        arguments = self.call.arguments if form.history.arguments == "text" else self.arguments
        function = {"name": self.call.name, "arguments": arguments}
        return {"id": self.call.id, "type": "function", "function": function}


def _escape_parts(parts: Sequence[Part], control: ControlText) -> Iterator[Part]:
    """Escape the texts. Consecutive texts are joined first, because a token may be split between them."""
    for is_text, group in groupby(parts, key=lambda part: isinstance(part, TextPart)):
        if is_text:
            yield TextPart(control.escape(text_of(tuple(group))))
        else:
            yield from group


def _add_reasoning(message: TemplateMessage, reasoning: str, key: str) -> None:
    if key != THINKING_PART:
        message[key] = reasoning
    elif reasoning:
        message["content"] = join_contents([[{"type": "thinking", "thinking": reasoning}], message["content"]], "")


def add_instructions(messages: Sequence[TemplateMessage], text: str, form: MessageForm) -> list[TemplateMessage]:
    """Append a text to the system message. Without a system message, add one."""
    content = form.content_of((TextPart(text),))
    if messages and messages[0]["role"] == "system":
        return [{**messages[0], "content": join_contents([messages[0]["content"], content])}, *messages[1:]]
    return [{"role": "system", "content": content}, *messages]


def _split_reasoning(message: Message, output_format: OutputFormat) -> tuple[str | None, Sequence[Part]]:
    """The reasoning and the content of a message. Some clients send the reasoning in tags inside the content."""
    opened, closed = output_format.reasoning_open, output_format.reasoning_close
    if message.role != "assistant" or message.reasoning is not None or not opened or not closed:
        return message.reasoning, message.content
    head, tag, rest = text_of(message.content).partition(closed)
    if not tag or not head.lstrip().startswith(opened):
        return None, message.content
    return head.lstrip().removeprefix(opened).strip(), (TextPart(rest.lstrip()),)
