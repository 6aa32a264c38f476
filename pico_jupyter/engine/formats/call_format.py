"""CallFormat: how the models of one family write tool calls. Each format is one declarative description.

A pattern is text with placeholders. `{name}` is the name of the tool, and `{key}` the name of a parameter. The parser
ignores `{id}`, and uses `{type}` only to recognize strings. A space in a pattern matches optional whitespace; only in
grammars, a space inside a tag matches exactly one space.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import cached_property
from typing import Any

import msgspec
import regex

# Characters that the names of tools and parameters do not contain: those that open the next part of a call.
# A guard is matched again for each token, so its whitespace is limited.
_GUARD_SPACE = r"\s{0,64}"
_FIELD = r"""[^\s<>{}\[\]()"'`|=,;]{1,256}"""
_PLACEHOLDER = regex.compile(r"\\\{(name|key|id|type)\\\}")


# The code blocks in which some models put their calls, tags included.
_FENCES = ("```", "```xml", "```json")


class Body(Enum):
    """How a call's name and arguments are written."""

    OBJECTS = auto()  # one or more JSON objects with the name and the arguments, or a list of them
    JSON = auto()  # the name in a pattern, then the arguments as a JSON object
    PARAMETERS = auto()  # the name in a pattern, then each parameter between tags
    TAGS = auto()  # the name in a pattern, then a tag for each parameter, with tags for its items inside
    PYTHON = auto()  # calls in Python's syntax, alone or in a list
    UNQUOTED = auto()  # the name in a pattern, then an object with bare keys and special quotes for strings


class CallFormat(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One way to write tool calls.

    - `title` and `families`: in the documentation, the name of the format and, if they differ from it, of its families.
    - `sections`: the texts before and after the calls of one answer. Without a section, nothing encloses the calls.
    - `calls` and `call_closings`: the patterns that open one call, and the texts that may end it.
    - `parameter` and `parameter_closing`: the pattern before the value of a parameter, and the text after it.
    - `quote`: the text around strings in an unquoted object; the text before each tag in nested tags.
    - `guards`: patterns of the start of a call, for formats that ordinary text may resemble. Such a call is recognized
      only at the start of the answer, and must name a tool of the request.
    - `evidence`: a model uses this format if one of these texts is in its template or is a token of its vocabulary.
    - `history_id`: the pattern of call ids that the template expects in past calls; "" for any id.

    The following fields are for grammars only. The parser accepts all variants.
    - `writes`: the patterns of `calls` that the model itself writes; by default the first.
    - `is_list`: all calls of an answer are in one list.
    - `section_per_call`: each call has a section of its own. `is_single`: an answer has one call.
    - `opening_optional`: the model also writes calls without the text that opens a section.
    - `name_key` and `arguments_key`: the keys of the JSON object of a call; with name_key "", it is {name: arguments}.
    - `id_key`: the key of a call's number in that object.
    - `id_text`: a regular expression of the ids that the model writes for `{id}`.
    - `string_type` and `other_type`: the text of `{type}` before a string and before other JSON; "" for the JSON type.
    """

    title: str
    body: Body
    families: tuple[str, ...] = ()
    sections: tuple[tuple[str, str], ...] = ()
    calls: tuple[str, ...] = ()
    call_closings: tuple[str, ...] = ()
    parameter: str = ""
    parameter_closing: str = ""
    quote: str = ""
    guards: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    history_id: str = ""
    writes: tuple[str, ...] = ()
    is_list: bool = False
    section_per_call: bool = False
    is_single: bool = False
    opening_optional: bool = False
    name_key: str = "name"
    arguments_key: str = "arguments"
    id_key: str = ""
    id_text: str = "[0-9]{1,3}"
    string_type: str = "string"
    other_type: str = ""

    @cached_property
    def call_patterns(self) -> tuple[Any, ...]:
        """The compiled patterns of `calls`."""
        return tuple(compile_pattern(pattern) for pattern in self.calls)

    @cached_property
    def parameter_pattern(self) -> Any:
        """The compiled pattern of `parameter`."""
        return compile_pattern(self.parameter)

    @cached_property
    def needles(self) -> tuple[str, ...]:
        """The texts with which a call begins, also in a code block; empty for a format with guards."""
        if self.guards:
            return ()
        starts = (pattern.partition("{")[0].rstrip() for pattern in self.calls)
        texts = tuple(dict.fromkeys(text for text in (*(opening for opening, _ in self.sections), *starts) if text))
        return (*texts, *(f"{fence}\n{text}" for fence in _FENCES for text in texts if not text[0].isalpha()))

    @cached_property
    def last_closings(self) -> tuple[str, ...]:
        """The tags after the calls of an answer. Other texts, such as the end of a code block, are no tags."""
        closings = (tuple(closing for _, closing in self.sections)) or self.call_closings
        return tuple(closing for closing in closings if any(map(str.isalnum, closing)))

    @cached_property
    def guard_patterns(self) -> tuple[Any, ...]:
        """The compiled patterns of `guards`."""
        return tuple(compile_pattern(pattern, _GUARD_SPACE) for pattern in self.guards)


def fits_pattern(name: str) -> bool:
    """Whether the parser can read the name of a tool or a parameter in a pattern."""
    return regex.fullmatch(_FIELD, name) is not None


def compile_pattern(pattern: str, space: str = r"\s*") -> Any:
    """A pattern with placeholders as a regular expression. `space` is the expression for a space in the pattern."""
    text = regex.escape(pattern, special_only=True, literal_spaces=True).replace(" ", space)
    seen: set[str] = set()

    def field(match: Any) -> str:
        name = match[1]
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>{_FIELD})"

    return regex.compile(_PLACEHOLDER.sub(field, text))
