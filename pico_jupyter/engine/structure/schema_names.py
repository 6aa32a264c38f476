"""declare_names(): replaces `propertyNames` of a JSON schema, which llguidance 1.9 cannot enforce."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pico_jupyter.engine.structure.schema_spelling import DATE_FORMATS
from pico_jupyter.engine.structure.schema_values import KEYWORDS, NotExact, listed

# The limit for listed names. The schema of the other members is copied for each name.
_MAX_NAMES = 100
_FORMATS = {
    "uuid": "^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
    "date": f"^{DATE_FORMATS['date']}$",
}


def declare_names(schema: Mapping[str, Any], names: Any) -> dict[str, Any]:
    """Replace the `propertyNames` of a schema, `names`, by keywords with the same valid values. Raises NotExact."""
    if not isinstance(names, Mapping):
        raise NotExact
    limits = {key: value for key, value in names.items() if key in KEYWORDS and (key, value) != ("type", "string")}
    rest = {key: value for key, value in schema.items() if key != "propertyNames"}
    if "unevaluatedProperties" in schema or "patternProperties" in schema:
        raise NotExact  # Both keywords depend on which keyword declares a member.
    if limits.keys() in ({"enum"}, {"const"}):
        return _with_listed_names(rest, listed(limits.get("enum", [limits.get("const")])))
    others = rest.pop("additionalProperties", True)
    if rest.get("properties"):
        raise NotExact
    return {**rest, "patternProperties": {_pattern(limits): others}, "additionalProperties": False}


def _with_listed_names(schema: Mapping[str, Any], names: list[Any]) -> dict[str, Any]:
    """A schema of objects whose members have only the given names."""
    if len(names) > _MAX_NAMES:
        raise NotExact
    declared = schema.get("properties") or {}
    others = schema.get("additionalProperties", True)
    allowed = {name: declared.get(name, others) for name in names if isinstance(name, str)}
    return {**schema, "properties": allowed, "additionalProperties": False}


def _pattern(limits: Mapping[str, Any]) -> str:
    """The regular expression of the names that a schema allows."""
    pattern, name = limits.get("pattern"), limits.get("format")
    if limits.keys() == {"pattern"} and isinstance(pattern, str):
        return pattern
    if limits.keys() == {"format"} and name in _FORMATS:
        return _FORMATS[name]
    if not limits.keys() <= {"minLength", "maxLength"} or any(type(size) is not int for size in limits.values()):
        raise NotExact
    least, most = limits.get("minLength", 0), limits.get("maxLength", "")
    return rf"^[\s\S]{{{least},{most}}}$"
