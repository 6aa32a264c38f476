"""Writes the parts of a grammar in llguidance's Lark syntax: literals, JSON schemas, patterns and named rules.

llguidance matches the special tokens of a vocabulary only as <[id]> in rules, never inside a string or a regular
expression. A `Literal` therefore splits a text at these tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import regex

if TYPE_CHECKING:
    from llguidance import LLTokenizer

    from pico_jupyter.engine.text.tokenizer import Tokenizer

# Writes a text as a Lark expression in which the special tokens of the vocabulary are <[id]>.
Literal = Callable[[str], str]

# Whitespace between two parts. It is limited, because small models write endless whitespace.
_WHITESPACE = r"[ \n]{1,2}"
SPACE = "SPACE?"
_SPACE_TERMINAL = f"SPACE: /{_WHITESPACE}/"
# A space inside a tag remains a space. Each other space of a pattern becomes optional whitespace.
_PATTERN_PARTS = regex.compile(r'(\{\w+\}|(?<![\w"]) | (?!\w))')


def token_literal(tokenizer: Tokenizer, ll_tokenizer: LLTokenizer) -> Literal:
    """The Literal of a vocabulary."""

    def literal(text: str) -> str:
        tokens = tokenizer.added_token_ids(text)
        special = {name: token_id for name, token_id in tokens.items() if ll_tokenizer.is_special_token(token_id)}
        names = sorted(special, key=len, reverse=True)
        parts = regex.split(f"({'|'.join(map(regex.escape, names))})", text) if names else [text]
        written = [f"<[{special[part]}]>" if part in special else text_literal(part) for part in parts if part]
        return " ".join(written) or '""'

    return literal


def text_literal(text: str) -> str:
    """A text as a string of Lark, without special tokens."""
    return json.dumps(text)


def json_expression(schema: Any) -> str:
    """A JSON value that matches a schema. Whitespace is limited. Printable characters have no \\u escapes."""
    if isinstance(schema, bool):
        schema = {} if schema else {"not": {}}
    return f"%json {json.dumps({**schema, 'x-guidance': {'whitespace_pattern': _WHITESPACE}})}"


def move_references(schema: Any, pointer: str = "#") -> Any:
    """A copy of a schema for the place `pointer` of another schema. Its local references point to the new place.

    `uniqueItems: false` is removed, because llguidance refuses the keyword with any value.
    """
    if isinstance(schema, list):
        return [move_references(item, pointer) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: pointer + value[1:] if _is_reference(key, value) else move_references(value, pointer)
        for key, value in schema.items()
        if not (key == "uniqueItems" and value is False)
    }


def has_references(schema: Any) -> bool:
    """Whether a schema refers to another part of its document."""
    if isinstance(schema, list):
        return any(has_references(item) for item in schema)
    return isinstance(schema, dict) and any(_is_reference(*item) or has_references(item[1]) for item in schema.items())


def _is_reference(key: str, value: Any) -> bool:
    return key == "$ref" and isinstance(value, str) and value.startswith("#")


def pattern_expression(pattern: str, literal: Literal, values: dict[str, str], terminals: dict[str, str]) -> str:
    """A pattern of a format as a Lark expression.

    `values` maps placeholders to texts, and `terminals` maps others to terminals.
    """
    written, text = [], ""
    for part in [*_PATTERN_PARTS.split(pattern), "{}"]:
        name = part[1:-1] if part.startswith("{") and part.endswith("}") else None
        expression = SPACE if part == " " else terminals.get(name or "") if name is not None else None
        if name in values:
            text += values[name]
        elif expression is None and name is None:
            text += part
        else:
            written += [*([literal(text)] if text else []), *([expression] if expression else [])]
            text = ""
    return " ".join(written)


class LarkRules:
    """The rules of a grammar. Rules with the same key are written once."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._lines: list[str] = []

    def rule(self, body: str, prefix: str = "part", options: str = "") -> str:
        """The name of the rule with this body. `options` are llguidance's options of a rule, such as `lazy`."""
        return self.recursive(f"{options}: {body}", lambda: body, prefix, options)

    def terminal(self, body: str) -> str:
        """The name of the terminal with this body."""
        return self.rule(body, prefix="TEXT")

    def recursive(self, key: str, build: Callable[[], str], prefix: str = "value", options: str = "") -> str:
        """The name of the rule for `key`. `build` returns its body, which may contain the rule itself."""
        if key not in self._names:
            name = self._names[key] = f"{prefix}_{len(self._names)}"
            self._lines.append(f"{name}{f'[{options}]' if options else ''}: {build()}")
        return self._names[key]

    def grammar(self, start: str) -> str:
        """The whole grammar, which begins with the expression `start`."""
        return "\n".join([f"start: {start}", *self._lines, _SPACE_TERMINAL, ""])
