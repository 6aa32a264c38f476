"""Finds the value that makes a body invalid JSON, such as NaN, and the field that contains it."""

from __future__ import annotations

import re

import msgspec

from pico_jupyter.dialects.request_errors import invalid
from pico_jupyter.errors import InvalidRequest

MAX_NESTING = 100

# Only this many bytes at the beginning of a body are searched, because the search is slow.
_SEARCHED = 256 * 1024
# If a value is nested too deeply, the error names only this many steps of its path.
_NAMED_STEPS = 4
_TOKEN = re.compile(rb'(?P<string>"(?:[^"\\]|\\.)*")|(?P<mark>[][{},:])|"|[^][{},:"\s]+', re.DOTALL)
# Any escape of this form counts as valid, even that of a lone surrogate.
_ESCAPE = re.compile(rb"\\u[0-9a-fA-F]{4}")
_ECHOED = 24


def find_json_fault(body: bytes) -> InvalidRequest | None:
    """Return an error that names the first invalid value of a body, its position and its field.

    Returns None if all values are valid, and the fault is another one, such as a missing bracket.
    """
    path = _JsonPath()
    for token in _TOKEN.finditer(body[:_SEARCHED]):
        if token["mark"]:
            path.step(token[0])
            if len(path.steps) > MAX_NESTING:
                param = path.name(_NAMED_STEPS)
                return invalid(param, f"The request body is nested too deeply, in {param!r}.")
            continue
        value = _ESCAPE.sub(b"?", token[0])
        if not _is_json(value):
            return _describe(token, body, path.name())
        path.text = value
    return None


class _JsonPath:
    """The path of the current value. `text` is the latest string, which is a key if a colon follows."""

    def __init__(self) -> None:
        self.steps: list[str | int] = []
        self.text = b""

    def step(self, mark: bytes) -> None:
        match mark:
            case b"{":
                self.steps.append("")
            case b"[":
                self.steps.append(0)
            case b":" if self.steps:
                self.steps[-1] = str(msgspec.json.decode(self.text or b'""'))
            case b"," if self.steps:
                last = self.steps[-1]
                self.steps[-1] = last + 1 if isinstance(last, int) else ""
            case b"}" | b"]" if self.steps:
                self.steps.pop()

    def name(self, count: int | None = None) -> str:
        """The path, such as "messages[0].content"; with `count`, only its first steps."""
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.steps[:count])
        return "".join(steps).strip(".")


def _is_json(token: bytes) -> bool:
    try:
        msgspec.json.decode(token)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _describe(token: re.Match[bytes], body: bytes, param: str) -> InvalidRequest:
    position = len(body[: token.start()].decode("utf-8", "replace"))
    what = "a string" if token[0].startswith(b'"') else token[0][:_ECHOED].decode("utf-8", "replace")
    place = f" in {param!r}" if param else ""
    text = f"The request body is not valid JSON: {what} at character {position}{place} is not valid."
    return InvalidRequest(text, param=param or None)
