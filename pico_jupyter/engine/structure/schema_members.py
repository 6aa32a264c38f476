"""grammar_schema(): prepares a JSON schema for compilation. It limits the members that the schema does not declare.

JSON Schema allows any other members where `additionalProperties` is absent. A small model then adds members until it
reaches its limit of tokens. So a schema that declares members, and does not mention others, is limited:

- If all declared members are required, there are no others.
- Otherwise, an object may have others if it has no optional member, or all of them. Their values have at most two
  levels, and the object has at most one member more than the schema declares.

Schemas that are combined, as by `allOf`, are not limited, because one may declare members that another one does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pico_jupyter.engine.structure.lark import move_references
from pico_jupyter.engine.structure.schema_rewrite import rewrite_schema
from pico_jupyter.engine.structure.schema_values import KEYWORDS, listed

# Three variants replace each object with optional members. Objects within this many such objects are not limited.
_MAX_VARIANTS = 3
_MAX_DEPTH = 2
_MAX_ITEMS = 8
# The variants make a schema longer. A schema that would become longer than this is not limited.
_MAX_CHARACTERS = 100_000
_PLAIN = {"type", "properties", "required"}
_BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
_PARTS = ("items", "additionalProperties", "prefixItems")
_COMBINATIONS = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")


def grammar_schema(schema: Any, pointer: str = "#") -> Any:
    """The schema at `pointer` of a document, in the form in which llguidance can enforce it."""
    rewritten = rewrite_schema(schema)
    limited = _limit(rewritten, 0, has_definitions=not _combines_references(rewritten))
    is_short = len(json.dumps(limited)) <= _MAX_CHARACTERS
    return move_references(limited if is_short else rewritten, pointer)


def nested_value(depth: int) -> dict[str, Any]:
    """A schema of values with at most `depth` levels of arrays and objects. The arrays and objects are short."""
    scalar = {"type": ["string", "number", "boolean", "null"]}
    if not depth:
        return scalar
    inner = nested_value(depth - 1)
    array = {"type": "array", "items": inner, "maxItems": _MAX_ITEMS}
    return {"anyOf": [scalar, array, {"type": "object", "additionalProperties": inner, "maxProperties": _MAX_ITEMS}]}


def _limit(schema: Any, variants: int, *, has_definitions: bool) -> Any:
    """A copy of a schema whose objects are limited. `variants` counts the enclosing objects that have variants."""
    if isinstance(schema, list):
        return [_limit(item, variants, has_definitions=has_definitions) for item in schema]
    if not isinstance(schema, Mapping) or (_combines(schema) and not _is_union(schema)):
        return schema
    limits = _member_limits(schema) if variants < _MAX_VARIANTS else {}
    inside = variants + ("anyOf" in limits)
    written = dict(schema)
    for key, value in schema.items():
        if key in ("$defs", "definitions") and not has_definitions:
            continue
        if key in _BY_NAME and isinstance(value, Mapping):
            parts = {name: _limit(part, inside, has_definitions=has_definitions) for name, part in value.items()}
            written[key] = parts
        elif key in _PARTS or key in _COMBINATIONS:
            written[key] = _limit(value, inside, has_definitions=has_definitions)
    return {**written, **limits}


def _member_limits(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords that limit the members of an object; empty if the schema itself has keywords about other members."""
    properties = schema.get("properties")
    required = set(listed(schema.get("required")))
    if not isinstance(properties, Mapping) or not properties:
        return {}
    if schema.keys() & KEYWORDS - _PLAIN or not required <= properties.keys() or False in properties.values():
        return {}
    optional = [name for name in properties if name not in required]
    if not optional:
        return {"additionalProperties": False}
    others = {"additionalProperties": nested_value(_MAX_DEPTH), "maxProperties": len(properties) + 1}
    return {
        "anyOf": [
            {"properties": dict.fromkeys(properties, True), "additionalProperties": False},
            {"properties": {name: name not in optional for name in properties}, **others},
            {"properties": dict.fromkeys(properties, True), "required": [*properties], **others},
        ]
    }


def _combines(schema: Mapping[str, Any]) -> bool:
    return any(keyword in schema for keyword in _COMBINATIONS)


def _is_union(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is only an `anyOf` or `oneOf`, or an `allOf` with one part."""
    limits = schema.keys() & KEYWORDS
    return limits in ({"anyOf"}, {"oneOf"}) or (limits == {"allOf"} and len(listed(schema["allOf"])) == 1)


def _combines_references(schema: Any) -> bool:
    """Whether a schema combines the target of a reference with other limits."""
    if isinstance(schema, list):
        return any(map(_combines_references, schema))
    if not isinstance(schema, Mapping):
        return False
    if "$ref" in schema and (schema.keys() & KEYWORDS) != {"$ref"}:
        return True
    if _combines(schema) and not _is_union(schema) and "'$ref'" in repr(schema):
        return True
    return any(map(_combines_references, schema.values()))
