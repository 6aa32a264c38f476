"""ChatRenderer: renders conversations of one request with the chat template of its model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pico_jupyter.engine.catalog.content_format import Content
from pico_jupyter.engine.catalog.turn_rewriting import REWRITINGS, TemplateMessage, rewrite
from pico_jupyter.engine.formats.call_formats import JSON_ALONE, JSON_IN_FENCE, JSON_IN_TAGS, CallFormat
from pico_jupyter.engine.formats.output_format import OutputFormat
from pico_jupyter.engine.preparation.call_history import split_parallel_calls
from pico_jupyter.engine.preparation.control_text import ControlText, free_mark
from pico_jupyter.engine.preparation.media_preparation import MediaPreparation
from pico_jupyter.engine.preparation.template_messages import (
    MessageForm,
    add_instructions,
    template_messages,
    text_of,
)
from pico_jupyter.engine.preparation.tool_schemas import complete_tools, describe_tools
from pico_jupyter.engine.text.call_arguments import parse_arguments
from pico_jupyter.engine.text.tokenizer import Tokenizer
from pico_jupyter.errors import TemplateFailed
from pico_jupyter.types import ChatPrompt, Message, Part, TextPart

# The template variable with the documents of a request. Its texts are escaped; other variables are settings.
_DOCUMENTS = "documents"


class ChatRenderer:
    """Renders conversations of one request. `variables` are template variables other than messages and tools.

    If the template has no place for tools, the system message describes them. In the rendered text, `mark` is inside
    each control token that a text of the request contains (see ControlText).
    """

    def __init__(
        self,
        prompt: ChatPrompt,
        variables: dict[str, Any],
        tokenizer: Tokenizer,
        media_preparation: MediaPreparation | None,
    ) -> None:
        history, output_format = tokenizer.history_format, tokenizer.output_format
        self.mark = free_mark("".join(_texts_of(prompt)))
        placeholders = media_preparation.placeholders if media_preparation else frozenset()
        tokens = tokenizer.control_tokens | _reasoning_tags(output_format) | placeholders
        texts = ControlText(tokens, self.mark)
        tools = json.loads(prompt.tools)
        is_generic = describes_tools(prompt, tokenizer)
        self._form = MessageForm(
            output_format=output_format,
            history=history,
            texts=texts,
            answers=ControlText((tokens - output_format.tags) | placeholders, self.mark),
            content_of=media_preparation.template_content if media_preparation else _text_content(tokenizer),
            call_format=JSON_IN_TAGS if is_generic or not output_format.calls else output_format.calls[0],
            calls_as_text=is_generic or history.arguments is None,
            results_as_text=is_generic or not history.results,
        )
        self._tools = [] if is_generic else texts.escape(tools)
        self._instructions = describe_tools(texts.escape(tools)) if is_generic else ""
        self._variables = variables
        if _DOCUMENTS in variables:
            self._variables = {**variables, _DOCUMENTS: texts.escape(variables[_DOCUMENTS])}
        self._continues = prompt.continue_final_message
        self._tokenizer = tokenizer

    def render(self, messages: Sequence[Message]) -> str:
        """Render messages.

        If the template fails, optional fields of tools are added, and the messages are rewritten in all known ways.
        Raises TemplateFailed, as the first attempt did.
        """
        if not self._form.calls_as_text and not self._form.history.parallel_calls:
            messages = split_parallel_calls(messages)
        converted = list(template_messages(messages, self._form))
        if self._instructions:
            converted = add_instructions(converted, self._instructions, self._form)
        failure: TemplateFailed | None = None
        for variant, tools in self._attempts(converted):
            try:
                return self._form.texts.in_rendered(self._apply(variant, tools))
            except TemplateFailed as error:
                failure = failure or error
        raise failure or TemplateFailed("chat template error")

    def _attempts(
        self, messages: list[TemplateMessage]
    ) -> Iterator[tuple[list[TemplateMessage], Sequence[dict[str, Any]]]]:
        """Variants of the messages and tools. The first one is as the template needs it."""
        needed = rewrite(messages, self._form.history.rewritings)
        completed = complete_tools(self._tools)
        yield needed, self._tools
        if completed != self._tools:
            yield needed, completed
        if (changed := rewrite(needed, REWRITINGS)) != needed:
            yield changed, completed

    def _apply(self, messages: list[TemplateMessage], tools: Sequence[dict[str, Any]]) -> str:
        place = self._tokenizer.history_format.tools
        arguments: Any = (messages, tools, self._variables)
        if place is not None:
            arguments = place.insert(tools, messages, self._variables, self._form.content_of(()))
        return self._tokenizer.render(*arguments, continue_final_message=self._continues)


def _text_content(tokenizer: Tokenizer) -> Callable[[Sequence[Part]], Content]:
    content_format = tokenizer.content_format
    if content_format.accepts_strings or not content_format.accepts_parts:
        return text_of
    return lambda parts: [{"type": "text", "text": text_of(parts)}]


def describes_tools(prompt: ChatPrompt, tokenizer: Tokenizer) -> bool:
    """Whether the tools of a prompt are described in the system message, because the template has no place for them."""
    return prompt.tools != "[]" and tokenizer.history_format.tools is None


def answer_call_formats(prompt: ChatPrompt, tokenizer: Tokenizer) -> tuple[CallFormat, ...]:
    """The formats of tool calls in the answer to a prompt."""
    native = tokenizer.output_format.calls
    if not describes_tools(prompt, tokenizer):
        return native
    return tuple(dict.fromkeys((JSON_IN_TAGS, *native, JSON_ALONE, JSON_IN_FENCE)))


def _reasoning_tags(output_format: OutputFormat) -> frozenset[str]:
    """The tags of reasoning, which are control tokens even if the vocabulary has no tokens for them."""
    tags = (output_format.reasoning_open, output_format.reasoning_close)
    return frozenset(tag for tag in tags if tag and tag[0] in "<[")


def _texts_of(prompt: ChatPrompt) -> Iterator[str]:
    yield prompt.tools
    yield prompt.template_kwargs
    for message in prompt.messages:
        yield from (part.text for part in message.content if isinstance(part, TextPart))
        yield from (message.reasoning or "", message.name or "", message.tool_call_id or "")
        for call in message.tool_calls:
            # Also the parsed arguments, because their text may escape characters twice.
            parsed = json.dumps(parse_arguments(call.arguments), ensure_ascii=False)
            yield from (call.id, call.name, call.arguments, parsed)
