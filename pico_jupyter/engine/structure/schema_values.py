"""Document: checks whether a value matches a JSON schema, and whether two schemas have no valid value in common.

It raises NotExact if it does not know: for keywords that it does not evaluate, references to other documents, and
schemas that need too many steps.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import regex

# The keywords that limit which values are valid. All others are annotations or contain definitions.
KEYWORDS = {
    *("type", "enum", "const", "not", "if", "then", "else", "anyOf", "oneOf", "allOf", "format", "multipleOf"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern"),
    *("items", "additionalItems", "prefixItems", "unevaluatedItems", "minItems", "maxItems", "uniqueItems"),
    *("contains", "minContains", "maxContains", "minProperties", "maxProperties", "required", "properties"),
    *("patternProperties", "additionalProperties", "propertyNames", "unevaluatedProperties"),
    *("dependencies", "dependentRequired", "dependentSchemas", "$ref", "$dynamicRef", "$recursiveRef"),
}
TYPES = ("string", "number", "boolean", "null", "array", "object")
_CLASSES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}
_MAX_STEPS = 2000
# A pattern from a request may take exponential time.
_PATTERN_SECONDS = 0.2
_PATTERN_STEPS = 20


class NotExact(Exception):
    """There is no exact answer."""


def listed(value: Any) -> list[Any]:
    """A list as it is; an empty list for any other value."""
    return value if isinstance(value, list) else []


def has_key(value: Any, keys: Collection[str]) -> bool:
    """Whether an object at any depth of a value has one of the keys."""
    if isinstance(value, Mapping):
        return not value.keys().isdisjoint(keys) or any(has_key(item, keys) for item in value.values())
    return any(has_key(item, keys) for item in listed(value))


def references(schema: Any) -> Iterator[str]:
    """The references at any depth of a schema."""
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        schema = list(schema.values())
    for part in listed(schema):
        yield from references(part)


def has_type(value: Any, name: str) -> bool:
    """Whether a value has a type of JSON Schema. 1.0 is an integer."""
    if name == "integer":
        return has_type(value, "number") and value == value // 1
    is_boolean = isinstance(value, bool)
    return isinstance(value, _CLASSES[name]) and is_boolean == (name == "boolean") if name in _CLASSES else False


def equality_key(value: Any) -> str:
    """A text that is the same for values that are equal in JSON, such as 1 and 1.0, but not 1 and true."""
    return json.dumps(_normal(value), sort_keys=True)


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Document:
    """A JSON schema, with the definitions to which its references point."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MAX_STEPS
        self._keys: dict[int, tuple[Any, set[str]]] = {}
        # A part with its own $id changes the base of the references in it.
        self._has_parts_with_ids = isinstance(root, Mapping) and any(has_key(part, {"$id"}) for part in root.values())

    def spend(self, steps: int = 1) -> None:
        """Count steps. Raises NotExact after too many."""
        self._left -= steps
        if self._left < 0:
            raise NotExact

    def has(self, reference: str) -> bool:
        """Whether a local reference has a target in the document."""
        try:
            self._at(reference)
        except NotExact:
            return False
        return True

    def resolve(self, reference: Any) -> Any:
        """The target of a reference."""
        self.spend()
        if self._has_parts_with_ids:
            raise NotExact
        return self._at(reference)

    def resolve_chain(self, schema: Any) -> Any:
        """The schema at the end of a chain of references. Only its last reference may have other keywords beside it."""
        while isinstance(schema, Mapping) and schema.keys() & KEYWORDS == {"$ref"}:
            schema = self.resolve(schema["$ref"])
        return schema

    def _at(self, reference: Any) -> Any:
        if reference == "#":
            return self._root
        if not isinstance(reference, str) or not reference.startswith("#/") or "%" in reference:
            raise NotExact
        part = self._root
        for escaped in reference[2:].split("/"):
            name = escaped.replace("~1", "/").replace("~0", "~")
            if isinstance(part, Mapping) and name in part:
                part = part[name]
            elif isinstance(part, list) and name.isdecimal() and int(name) < len(part):
                part = part[int(name)]
            else:
                raise NotExact
        return part

    def matches(self, value: Any, schema: Any) -> bool:
        """Whether a value matches a schema of this document."""
        self.spend()
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping):
            raise NotExact
        limits = {key: limit for key, limit in schema.items() if key in KEYWORDS}
        if "$ref" in limits and len(limits) > 1:
            raise NotExact
        return all(self._fulfils(value, key, limit, limits) for key, limit in limits.items())

    def _fulfils(self, value: Any, keyword: str, limit: Any, schema: Mapping[str, Any]) -> bool:
        match keyword:
            case "$ref":
                return self.matches(value, self.resolve(limit))
            case "type":
                return any(has_type(value, name) for name in ([limit] if isinstance(limit, str) else limit))
            case "enum":
                return equality_key(value) in self._keys_of(limit)
            case "const":
                return equality_key(value) == equality_key(limit)
            case "not":
                return not self.matches(value, limit)
            case "allOf" | "anyOf" | "oneOf":
                count = sum([self.matches(value, option) for option in limit])
                return count == len(limit) if keyword == "allOf" else count == 1 if keyword == "oneOf" else count > 0
            case "then" | "else":
                return (
                    "if" not in schema
                    or self.matches(value, schema["if"]) != (keyword == "then")
                    or (self.matches(value, limit))
                )
            case "if":
                return True
            case "additionalItems" if not isinstance(schema.get("items"), list):
                return True
            case "items" if isinstance(limit, Mapping | bool) and "prefixItems" not in schema:
                return not isinstance(value, list) or all(self.matches(item, limit) for item in value)
            case "pattern":
                return not isinstance(value, str) or self._search(limit, value)
            case "required" | "properties" | "patternProperties" | "additionalProperties" | "propertyNames":
                return not isinstance(value, dict) or self._object_fulfils(value, keyword, limit, schema)
        return _is_within(value, keyword, limit)

    def _keys_of(self, values: Any) -> set[str]:
        """The equality keys of an enumeration, cached because many values are compared with the same enumeration."""
        if id(values) not in self._keys:  # The list is stored too, so that no other list gets its id.
            self._keys[id(values)] = (values, set(map(equality_key, values)))
        return self._keys[id(values)][1]

    def _object_fulfils(self, value: dict[str, Any], keyword: str, limit: Any, schema: Mapping[str, Any]) -> bool:
        if keyword == "required":
            return all(name in value for name in limit)
        if keyword == "propertyNames":
            return all(self.matches(name, limit) for name in value)
        named = schema.get("properties") or {}
        patterns = schema.get("patternProperties") or {}
        checks = {
            "properties": lambda name: [limit[name]] if name in limit else [],
            "patternProperties": lambda name: [limit[pattern] for pattern in limit if self._search(pattern, name)],
            "additionalProperties": lambda name: (
                [] if name in named or any(self._search(pattern, name) for pattern in patterns) else [limit]
            ),
        }
        return all(self.matches(item, part) for name, item in value.items() for part in checks[keyword](name))

    def _search(self, pattern: str, text: str) -> bool:
        self.spend(_PATTERN_STEPS)
        try:
            return regex.search(pattern, text, timeout=_PATTERN_SECONDS, concurrent=True) is not None
        except regex.error as error:
            raise NotExact from error
        except TimeoutError as error:
            self._left = 0
            raise NotExact from error

    def are_disjoint(self, first: Any, second: Any) -> bool:
        """Whether it is certain that no value matches both schemas."""
        try:
            return self._are_disjoint(self._target(first), self._target(second))
        except NotExact:
            return False

    def _target(self, schema: Any) -> Mapping[str, Any]:
        """The schema at the end of a chain of references; {} if it has no keywords or is not certain."""
        schema = self.resolve_chain(schema)
        return schema if isinstance(schema, Mapping) and "$ref" not in schema else {}

    def _are_disjoint(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
        for one, other in ((first, second), (second, first)):
            values = listed(one["enum"]) if "enum" in one else [one["const"]] if "const" in one else None
            if values is not None:
                limits = {key: other[key] for key in ("type", "enum", "const") if key in other}
                if not any(self.matches(value, limits) for value in values):
                    return True
        shared = _types(first) & _types(second)
        if not shared:
            return True
        required = set(listed(first.get("required"))) & set(listed(second.get("required")))
        members = [schema.get("properties") or {} for schema in (first, second)]
        common = required & members[0].keys() & members[1].keys()
        return shared == {"object"} and any(self.are_disjoint(members[0][name], members[1][name]) for name in common)


def _types(schema: Mapping[str, Any]) -> set[str]:
    given = schema.get("type", [*TYPES, "integer"])
    names = {given} if isinstance(given, str) else set(given)
    return names | {"integer"} if "number" in names else names


def _is_within(value: Any, keyword: str, limit: Any) -> bool:
    """Whether a value fulfils a limit of numbers or sizes."""
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise NotExact
    number = value if has_type(value, "number") else None
    match keyword:
        case "minimum":
            return number is None or number >= limit
        case "maximum":
            return number is None or number <= limit
        case "exclusiveMinimum":
            return number is None or number > limit
        case "exclusiveMaximum":
            return number is None or number < limit
    kind = {"Length": "string", "Items": "array", "Properties": "object"}.get(keyword[3:])
    if kind is None or keyword[:3] not in ("min", "max"):
        raise NotExact
    return not has_type(value, kind) or (len(value) >= limit if keyword[:3] == "min" else len(value) <= limit)
