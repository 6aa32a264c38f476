"""Defines training samples, and renders them as chat_template.jinja does, but faster (tests compare both)."""

import json
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]
Tool = dict[str, Any]

TOOLS_HEAD = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
TOOLS_TAIL = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n'
)
NO_THINK = "<think>\n\n</think>\n\n"


@dataclass(slots=True)
class Turn:
    """One question with its reasoning and answer, before it is placed in a conversation.

    In the evaluation, the last number of a right answer is `value`. If `value` is None, the whole text must be right.
    `reasoned` is the probability that the sample is rendered with reasoning on.
    """

    skill: str
    question: str
    reasoning: str
    answer: str
    value: int | None = None
    reasoned: float = 0.5


@dataclass(slots=True)
class Sample:
    """A conversation that ends before the model's turn, and the expected answer."""

    skill: str
    messages: list[Message]
    reasoning: str
    answer: str
    tools: list[Tool] = field(default_factory=list)
    think: bool = True
    value: int | None = None


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


def render_prompt(sample: Sample) -> str:
    """The text before the model's turn."""
    messages = sample.messages
    last_query = max(i for i, message in enumerate(messages) if message["role"] == "user")
    parts = [_system_text(sample)]
    parts += [_message_text(message, after_query=i > last_query) for i, message in enumerate(messages)]
    parts.append("<|im_start|>assistant\n")
    if not sample.think:
        parts.append(NO_THINK)
    return "".join(parts)


def render_target(sample: Sample) -> str:
    """The text that the model must write."""
    reasoning = f"<think>\n{sample.reasoning}\n</think>\n\n" if sample.think else ""
    return f"{reasoning}{sample.answer}<|im_end|>"


def _system_text(sample: Sample) -> str:
    first = sample.messages[0]
    system = first["content"] if first["role"] == "system" else None
    if sample.tools:
        lines = "".join("\n" + json.dumps(tool, ensure_ascii=False) for tool in sample.tools)
        intro = "" if system is None else f"{system}\n\n"
        return f"<|im_start|>system\n{intro}{TOOLS_HEAD}{lines}{TOOLS_TAIL}"
    return "" if system is None else f"<|im_start|>system\n{system}<|im_end|>\n"


def _message_text(message: Message, *, after_query: bool) -> str:
    content = message["content"]
    match message["role"]:
        case "system":
            return ""
        case "user":
            return f"<|im_start|>user\n{content}<|im_end|>\n"
        case "tool":
            return f"<|im_start|>user\n<tool_response>\n{content}\n</tool_response><|im_end|>\n"
        case "assistant":
            calls = "\n".join(_call_text(call["function"]) for call in message.get("tool_calls", []))
            reasoning = message.get("reasoning_content", "") if after_query else ""
            thought = f"<think>\n{reasoning}\n</think>\n\n" if reasoning else ""
            return f"<|im_start|>assistant\n{thought}{content}{calls}<|im_end|>\n"
        case role:
            raise ValueError(f"unknown role {role!r}")


def _call_text(call: dict[str, Any]) -> str:
    arguments = json.dumps(call["arguments"], ensure_ascii=False)
    return f'<tool_call>\n{{"name": "{call["name"]}", "arguments": {arguments}}}\n</tool_call>'
