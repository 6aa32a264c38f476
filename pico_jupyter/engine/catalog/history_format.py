"""HistoryFormat: how a chat template accepts tools, past tool calls and past reasoning. Detected by test renderings."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pico_jupyter.engine.catalog.turn_rewriting import (
    REASONING_KEYS,
    REWRITINGS,
    Rewriting,
    TemplateMessage,
    add_blank_answers,
    add_question,
    begin_with_question,
    fill_answers,
    fold_reasoning,
    free_lone_results,
    merge_roles,
    move_passed_system_text,
    move_system_text,
    rewrite,
    separate_call_texts,
    split_call_texts,
)
from pico_jupyter.errors import TemplateFailed

RenderHistory: TypeAlias = Callable[[Sequence[TemplateMessage], Sequence[Mapping[str, Any]], Mapping[str, Any]], str]

# The special tokens that templates read as variables.
SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")
# Texts that occur in no template.
_TOOL, _CALLED, _KEY, _VALUE = "qzj_tool", "qzj_called", "qzj_key", "qzj_value"
_SECOND_VALUE = "qzj_second"
_RESULT, _REASONING = "qzj result", "qzj reasoning"
_FUNCTION = {
    "name": _TOOL,
    "description": "Nothing.",
    "parameters": {
        "type": "object",
        "properties": {"x": {"type": "string", "description": "Nothing."}},
        "required": ["x"],
    },
}
# The reasoning key for templates that expect reasoning as a part of the content.
THINKING_PART = "part"


@dataclass(frozen=True, slots=True)
class ToolsPlace:
    """Where a template reads the tools: in a variable, or in a field of the system message.

    With `is_text`, the tools are JSON text instead of a list. With `is_bare`, each tool is only its function.
    """

    variable: str = ""
    field: str = ""
    is_text: bool = False
    is_bare: bool = False

    def insert(
        self,
        tools: Sequence[Mapping[str, Any]],
        messages: Sequence[TemplateMessage],
        variables: Mapping[str, Any],
        system_content: Any = "",
    ) -> tuple[Sequence[TemplateMessage], Sequence[Mapping[str, Any]], Mapping[str, Any]]:
        """The messages, tools and variables for the renderer. `system_content`: the content of a new system message."""
        if self.variable == "tools" or not tools:
            return messages, tools, variables
        listed = [tool["function"] for tool in tools] if self.is_bare else list(tools)
        value = json.dumps(listed, ensure_ascii=False) if self.is_text else listed
        if self.variable:
            return messages, (), {**variables, self.variable: value}
        has_system = bool(messages) and messages[0]["role"] == "system"
        system = messages[0] if has_system else {"role": "system", "content": system_content}
        return [{**system, self.field: value}, *messages[has_system:]], (), variables


TOOLS_PLACES = (
    ToolsPlace(variable="tools"),
    ToolsPlace(variable="xml_tools", is_bare=True),
    ToolsPlace(field="tools"),
    ToolsPlace(field="tools", is_text=True, is_bare=True),
    ToolsPlace(field="functions", is_text=True, is_bare=True),
    ToolsPlace(variable="functions", is_text=True, is_bare=True),
)


def required_variables(today: datetime.date) -> dict[str, str]:
    """The variables that Firefunction's template needs in every conversation. They are set if a template fails."""
    return {"functions": "[]", "datetime": today.isoformat()}


@dataclass(frozen=True, slots=True)
class HistoryFormat:
    """What a chat template prints, and in which form.

    - `tools`: where it reads the tools; None if it has no place for them.
    - `arguments`: the form of the arguments of past calls; None if it prints no calls.
    - `parallel_calls`: it prints several calls of one message. Some templates refuse them or print only the first.
    - `results`: it prints messages of the role "tool".
    - `reasoning_key`: the field of a past answer's reasoning, or THINKING_PART.
    - `rewritings`: without them, it refuses some conversations or omits texts.
    """

    tools: ToolsPlace | None = TOOLS_PLACES[0]
    arguments: Literal["object", "text"] | None = "object"
    parallel_calls: bool = True
    results: bool = True
    reasoning_key: str = "reasoning_content"
    rewritings: tuple[Rewriting, ...] = ()


def detect_history_format(render: RenderHistory, *, accepts_strings: bool) -> HistoryFormat:
    """Detect the format by rendering small conversations. `render` may raise TemplateFailed.

    `accepts_strings`: the content of a message may be a string.
    """
    probe = _HistoryProbe(render, accepts_strings)
    probe.place = next((place for place in TOOLS_PLACES if probe.prints_tools(place)), None)
    arguments = probe.arguments_form()
    results = probe.prints_results(arguments)
    keys = (key for key in (*REASONING_KEYS, THINKING_PART) if probe.prints_reasoning(key))
    reasoning_key = next(keys, REASONING_KEYS[0])
    return HistoryFormat(
        tools=probe.place,
        arguments=arguments,
        parallel_calls=probe.prints_parallel_calls(arguments),
        results=results,
        reasoning_key=reasoning_key,
        rewritings=probe.rewritings(arguments if results else None, reasoning_key),
    )


@dataclass(slots=True)
class _HistoryProbe:
    render: RenderHistory
    accepts_strings: bool
    place: ToolsPlace | None = None

    @property
    def user(self) -> TemplateMessage:
        return self.message("user", "hi")

    def message(self, role: str, text: str, **fields: Any) -> TemplateMessage:
        return {"role": role, "content": self._content(text), **fields}

    def rendered(self, messages: Sequence[TemplateMessage], place: ToolsPlace | None = None) -> str:
        """The rendered conversation; "" if the template fails. It has a tool if `place` or `self.place` is set."""
        tools = [{"type": "function", "function": _FUNCTION}]
        place = place or self.place
        try:
            arguments = place.insert(tools, messages, {}, self._content("")) if place else (messages, (), {})
            return self.render(*arguments)
        except TemplateFailed:
            return ""

    def prints_tools(self, place: ToolsPlace) -> bool:
        return _TOOL in self.rendered([self.user], place)

    def arguments_form(self) -> Literal["object", "text"] | None:
        """The form of arguments that the template prints, preferably as JSON. None if it prints no arguments."""
        as_object, as_text = self._call({_KEY: _VALUE}), self._call(json.dumps({_KEY: _VALUE}))
        printed_object, printed_text = self._printed_call(as_object), self._printed_call(as_text)
        if printed_object and not (f"'{_KEY}'" in printed_object and f'"{_KEY}"' in printed_text):
            return "object"
        if printed_text:
            return "text"
        return None

    def prints_parallel_calls(self, arguments: str | None) -> bool:
        if arguments is None:
            return True
        call = self._call_in_form(arguments)
        second = self._call_in_form(arguments, _SECOND_VALUE)
        call["tool_calls"] += second["tool_calls"]
        return _SECOND_VALUE in self._printed_call(call)

    def prints_results(self, arguments: str | None) -> bool:
        call = self._call_in_form(arguments) if arguments else self.message("assistant", "call")
        return _RESULT in self.rendered([self.user, call, self._result()])

    def prints_reasoning(self, key: str) -> bool:
        return any(self._is_printed_reasoning(messages) for messages in self._reasoning_conversations(key))

    def rewritings(self, arguments: str | None, reasoning_key: str) -> tuple[Rewriting, ...]:
        """The rewritings without which the template does not print all texts of some conversation."""
        conversations = self._turn_conversations() | self._call_conversations(arguments, reasoning_key)
        needed: list[Rewriting] = []
        for rewriting, samples in conversations.items():
            tried = [known for known in REWRITINGS if known in (*needed, rewriting)]
            if any(not self._prints(sample, needed) and self._prints(sample, tried) for sample in samples):
                needed = tried
        return tuple(needed)

    def _prints(self, messages: Sequence[TemplateMessage], rewritings: Sequence[Rewriting]) -> bool:
        prompt = self.rendered(rewrite(messages, rewritings))
        words = [*_words_of(messages), *([_TOOL] if self.place else [])]
        return bool(prompt) and all(word in prompt for word in words)

    def _turn_conversations(self) -> dict[Rewriting, list[list[TemplateMessage]]]:
        """Conversations that show whether the template needs a rewriting. Later ones may need earlier rewritings."""
        system, first, second = (
            self.message("system", "qzj1"),
            self.message("user", "qzj2"),
            self.message("user", "qzj3"),
        )
        answer, other = self.message("assistant", "qzj4"), self.message("assistant", "qzj5")
        return {
            merge_roles: [[first, second], [first, answer, other, second]],
            move_system_text: [[system, first]],
            fill_answers: [[first, self.message("assistant", ""), second]],
            begin_with_question: [[answer, first], [system, answer, first]],
            add_question: [[system]],
            move_passed_system_text: [[system, first, answer]],
        }

    def _call_conversations(self, arguments: str | None, key: str) -> dict[Rewriting, list[list[TemplateMessage]]]:
        """Conversations with calls and results, for the same purpose. Empty if the template does not print both."""
        if arguments is None:
            return {}
        first, second = self.message("user", "qzj1"), self.message("user", "qzj2")
        call, answer, result = self._call_in_form(arguments), self.message("assistant", "qzj3"), self._result()
        lone = self.message("tool", "qzj lone", tool_call_id="fedcba321")
        saying = {**call, "content": self._content("qzj4")}
        reasoning = {**saying, key: _REASONING}
        return {
            free_lone_results: [[first, lone], [first, call, result, lone], [first, answer, lone, second]],
            add_blank_answers: [[first, call, result, second], [first, call, second]],
            fold_reasoning: [[first, reasoning, result]],
            split_call_texts: [[first, saying, result]],
            separate_call_texts: [[first, saying, result, answer, second]],
        }

    def _is_printed_reasoning(self, messages: Sequence[TemplateMessage]) -> bool:
        text = self.rendered(messages)
        return _REASONING in text and not any(f"{quote}thinking{quote}" in text for quote in "'\"")

    def _reasoning_conversations(self, key: str) -> Iterator[Sequence[TemplateMessage]]:
        fields: TemplateMessage = {key: _REASONING}
        if key == THINKING_PART:
            parts = [{"type": "thinking", "thinking": _REASONING}, {"type": "text", "text": "yes"}]
            fields = {"content": parts}
        answer = {**self.message("assistant", "yes"), **fields}
        yield [self.user, answer]
        yield [self.user, answer, self.user]
        yield [self.user, self._call({_KEY: _VALUE}) | fields, self._result()]

    def _printed_call(self, call: TemplateMessage) -> str:
        for following in (self._result(), self.user):
            text = self.rendered([self.user, call, following])
            if _CALLED in text and _VALUE in text:
                return text
        return ""

    def _call(self, arguments: Any) -> TemplateMessage:
        function = {"name": _CALLED, "arguments": arguments}
        return self.message("assistant", "", tool_calls=[{"id": "abcdef123", "type": "function", "function": function}])

    def _call_in_form(self, form: str, value: str = _VALUE) -> TemplateMessage:
        arguments = {_KEY: value}
        return self._call(arguments if form == "object" else json.dumps(arguments))

    def _result(self) -> TemplateMessage:
        return self.message("tool", _RESULT, tool_call_id="abcdef123", name=_CALLED)

    def _content(self, text: str) -> Any:
        return text if self.accepts_strings else [{"type": "text", "text": text}]


def _words_of(messages: Sequence[TemplateMessage]) -> Iterator[str]:
    for message in messages:
        content = message["content"]
        yield content if isinstance(content, str) else content[0]["text"]
        if "tool_calls" in message:
            yield _VALUE
