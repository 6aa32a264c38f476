"""Reads the values of tool calls that are not JSON: objects with bare keys, and values between nested tags.

All functions read from the position of a cursor. They raise NotACall if no value is there, and Incomplete if more
text is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import regex

from pico_jupyter.engine.text.call_values import Incomplete, NotACall, convert_text, item_schema, nested_value
from pico_jupyter.engine.text.text_cursor import TextCursor

_UNQUOTED_END = regex.compile(r"[,}\]]")
_Item = TypeVar("_Item")


def read_unquoted(cursor: TextCursor, quote: str) -> Any:
    """Read a value with bare keys and with `quote` around strings, such as {city:<|"|>Paris<|"|>,days:[1,2]}."""
    cursor.skip_space()
    if cursor.accept("{"):
        return dict(_items(cursor, "}", lambda: _read_pair(cursor, quote)))
    if cursor.accept("["):
        return _items(cursor, "]", lambda: read_unquoted(cursor, quote))
    for opening in (quote, '"'):
        if cursor.accept(opening):
            return cursor.until(opening)
    end = _UNQUOTED_END.search(cursor.text, cursor.at)
    if end is None:
        raise Incomplete
    text = cursor.text[cursor.at : end.start()].strip()
    cursor.at = end.start()
    return convert_text(text, None)


def _read_pair(cursor: TextCursor, quote: str) -> tuple[str, Any]:
    cursor.skip_space()
    for opening in (quote, '"'):
        if cursor.accept(opening):
            key = cursor.until(opening)
            cursor.until(":")
            return key, read_unquoted(cursor, quote)
    return cursor.until(":").strip(), read_unquoted(cursor, quote)


def _items(cursor: TextCursor, closing: str, read: Callable[[], _Item]) -> list[_Item]:
    items: list[_Item] = []
    while not cursor.accept(closing):
        if cursor.is_at_end():
            raise Incomplete
        start = cursor.at
        items.append(read())
        if not cursor.accept(",") and cursor.at == start:
            raise NotACall("brackets do not match")
    return items


def read_tags(cursor: TextCursor, prefix: str, properties: Mapping[str, Any], closing: str) -> dict[str, Any]:
    """Read the arguments up to `closing`, each between two tags. `prefix` is the text before each tag."""
    value = _read_nested(cursor, prefix, {"type": "object", "properties": properties}, (closing,), ())
    return value if isinstance(value, dict) else {}


def read_tag(cursor: TextCursor, prefix: str, key: str, *, schema: Any, closing: str, siblings: Collection[str]) -> Any:
    """Read the value after the tag `key`, and the tag that closes it. `closing` ends the call."""
    own = f"{prefix}</{key}>"
    value = _read_nested(cursor, prefix, schema, (own, closing), siblings)
    cursor.accept(own)
    return value


def _read_nested(
    cursor: TextCursor, prefix: str, schema: Any, closings: tuple[str, ...], siblings: Collection[str]
) -> Any:
    """Read the value before the first of the tags `closings`: text, or tags that form an object or a list.

    It ends before another of these tags or before the tag of one of its `siblings`, if its own closing tag is missing.
    The tag at its end is not consumed.
    """
    start = cursor.at
    items: list[tuple[str, Any]] = []
    names = _property_names(schema)
    while (at := cursor.text.find(prefix, cursor.at)) >= 0:
        if items and cursor.text[cursor.at : at].strip():
            raise NotACall("text between two tags")
        if not cursor.final and any(closing.startswith(cursor.text[at:]) for closing in closings):
            raise Incomplete
        cursor.at = at + len(prefix)
        is_end = cursor.text.startswith(closings, at)
        if not is_end and not cursor.accept("<"):
            raise NotACall("no tag")
        key = "" if is_end else cursor.until(">")
        if is_end or (not items and not names and key in siblings):
            cursor.at = at
            return nested_value(items, cursor.text[start:at], schema)
        own = f"{prefix}</{key}>"
        others = names - {key} - {name for name, _ in items}
        value = _read_nested(cursor, prefix, item_schema(schema, key), (own, *closings), others)
        cursor.accept(own)
        items.append((key, value))
    raise Incomplete(prefix)


def _property_names(schema: Any) -> set[str]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return set(properties) if isinstance(properties, Mapping) else set()
