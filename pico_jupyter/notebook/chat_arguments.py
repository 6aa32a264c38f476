"""Checks the arguments of Pico.chat and builds an AnswerRequest from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypedDict

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.answer_schema import AnswerSchema
from pico_jupyter.sources.attachments import read_images, read_videos
from pico_jupyter.sources.calls import AnswerRequest, Reasoning, Turn, read_turns

ReasoningSwitch: TypeAlias = Reasoning | bool | None
History: TypeAlias = Answer | Iterable[Mapping[str, Any]] | None

INT64 = 2**63


class ChatArguments(TypedDict, total=False):
    """The keyword arguments of Pico.chat, which documents them."""

    model: str | None
    system: str
    reasoning: ReasoningSwitch
    images: Any
    videos: Any
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    history: History
    schema: Any


def read_arguments(question: str, options: ChatArguments, schema: AnswerSchema | None = None) -> AnswerRequest:
    """Build a request. `schema` is the parsed `schema` of `options`. The model is "" if no argument names a model.

    Raises InvalidRequest that names the argument.
    """
    if not isinstance(question, str):
        raise InvalidRequest(f"the question must be text, not {_kind(question)}", param="question")
    history = options.get("history")
    system, past = _read_history(history)
    media = (*read_images(options.get("images", ())), *read_videos(options.get("videos", ())))
    model = _text(options, "model") or (history.model if isinstance(history, Answer) else "")
    return AnswerRequest(
        model=model,
        messages=(*past, Turn("user", question, media)),
        reasoning=read_reasoning(options.get("reasoning")),
        system=_text(options, "system") or system,
        temperature=_temperature(options.get("temperature")),
        max_tokens=_integer("max_tokens", options.get("max_tokens"), 1, 2**31 - 1),
        seed=_integer("seed", options.get("seed"), -INT64, INT64 - 1),
        schema="" if schema is None else schema.text,
    )


def read_reasoning(switch: object) -> Reasoning:
    """Convert a string, a boolean or None to "on", "off" or "default". Raises InvalidRequest."""
    if switch is None or switch == "default":
        return "default"
    if switch is True or switch == "on":
        return "on"
    if switch is False or switch == "off":
        return "off"
    raise InvalidRequest(f"reasoning: {switch!r} is not 'on', 'off' or 'default'", param="reasoning")


def _read_history(history: History) -> tuple[str, tuple[Turn, ...]]:
    """Return the text of the leading system message ("" without one), and the turns."""
    if history is None:
        return "", ()
    if isinstance(history, Answer):
        return history.request.system, (*history.request.messages, Turn("assistant", history.text))
    if isinstance(history, str | Mapping) or not isinstance(history, Iterable):
        raise InvalidRequest(f"history: must be an Answer or a list of messages, not {_kind(history)}", param="history")
    messages = [dict(message) if isinstance(message, Mapping) else message for message in history]
    system = ""
    if messages and isinstance(messages[0], dict) and messages[0].get("role") == "system":
        system = str(messages.pop(0).get("content", ""))
    try:
        return system, read_turns(messages)
    except InvalidRequest as error:
        raise InvalidRequest(f"history: {error.message}", param="history") from None


def _text(options: ChatArguments, name: str) -> str:
    value = options.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name}: must be text, not {_kind(value)}", param=name)
    return value or ""


def _temperature(value: Any) -> float | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or not 0 <= number <= 2:
        raise InvalidRequest(f"temperature: {value!r} is not a number from 0 to 2", param="temperature")
    return number


def _number(value: Any) -> float | None:
    """Convert a number or a numpy scalar to a float. Returns None for a string, a boolean or NaN."""
    try:
        number = None if isinstance(value, str | bool) else float(value)
    except (TypeError, ValueError):
        return None
    return None if number is None or math.isnan(number) else number


def _integer(name: str, value: Any, minimum: int, maximum: int) -> int | None:
    if value is None:
        return None
    try:
        number = None if isinstance(value, bool) else int(value.__index__())
    except (AttributeError, TypeError):
        number = None
    if number is None or not minimum <= number <= maximum:
        raise InvalidRequest(f"{name}: {value!r} is not an integer from {minimum} to {maximum}", param=name)
    return number


def _kind(value: object) -> str:
    return type(value).__name__
