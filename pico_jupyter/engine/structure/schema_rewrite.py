"""rewrite_schema(): replaces keywords of a JSON schema that llguidance cannot enforce. The same values stay valid.

Examples are `not`, `if`, `dependencies`, and options of `oneOf` that overlap. A keyword without an exact replacement
is not replaced; check_grammar() then refuses the schema and names the keyword.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from pico_jupyter.engine.structure.schema_names import declare_names
from pico_jupyter.engine.structure.schema_negation import (
    all_of,
    any_of,
    member,
    negated_bound,
    negated_types,
    other_values,
)
from pico_jupyter.engine.structure.schema_spelling import spell_bounds, spell_format, spell_pattern, spell_values
from pico_jupyter.engine.structure.schema_values import KEYWORDS, Document, NotExact, has_key, listed, references

# `oneOf` with more options is not rewritten.
_MAX_OPTIONS = 8
_REPLACED = ("not", "if", "oneOf", "dependencies", "dependentRequired", "dependentSchemas")
_SCHEMAS_BY_NAME = {"properties", "patternProperties", "$defs", "definitions"}
# The keywords without effect on values that llguidance 1.9 knows. It also takes each unknown key for a limit: beside a
# recursive reference, it then refuses the schema.
_ANNOTATIONS = {
    "title",
    "description",
    "default",
    "examples",
    "$defs",
    "definitions",
    "$schema",
    "$id",
    "id",
    "$anchor",
}
_SCHEMAS = {"items", "prefixItems", "additionalProperties", "anyOf", "oneOf", "allOf"}


def rewrite_schema(schema: Any) -> Any:
    """A schema with the same valid values, written with fewer different keywords.

    A malformed schema is returned as is; check_grammar() explains its error.
    """
    try:
        rewritten = _Rewriter(schema).rewrite(schema)
        return rewritten if _references_exist(rewritten, Document(rewritten)) else schema
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return schema


class _Rewriter:
    """Rewrites the parts of one document."""

    def __init__(self, root: Any) -> None:
        self._document = Document(root)
        self._referenced = {name for reference in references(root) for name in reference.split("/")}

    def rewrite(self, schema: Any) -> Any:
        """A schema whose parts are rewritten, from the outside to the inside."""
        if isinstance(schema, list):
            return [self.rewrite(item) for item in schema]
        if not isinstance(schema, Mapping):
            return schema
        schema = {key: value for key, value in schema.items() if self._is_used(key)}
        written = self._with_declared_names(_spelled(self._with_chosen_values(schema)))
        for keyword in _REPLACED:
            if keyword not in written:
                continue
            try:
                part = self._replacement(keyword, written)
            except NotExact:
                continue
            removed = ("if", "then", "else") if keyword == "if" else (keyword,)
            written = _joined(_without(written, *removed), part)
        return {key: self._rewrite_value(key, value) for key, value in written.items()}

    def _is_used(self, key: str) -> bool:
        return key in KEYWORDS or key in _ANNOTATIONS or key in self._referenced

    def _with_declared_names(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """A schema without `propertyNames`, if its names can be declared."""
        if "propertyNames" not in schema:
            return schema
        try:
            return declare_names(schema, self._document.resolve_chain(schema["propertyNames"]))
        except NotExact:
            return schema

    def _rewrite_value(self, keyword: str, value: Any) -> Any:
        if keyword == "pattern" and isinstance(value, str):
            return spell_pattern(value)
        if keyword in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
            spell = spell_pattern if keyword == "patternProperties" else str
            return {spell(name): self.rewrite(schema) for name, schema in value.items()}
        return self.rewrite(value) if keyword in _SCHEMAS else value

    def _with_chosen_values(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """For a schema that lists its values: keep only those that match its other keywords."""
        parts = [schema, *(part for part in listed(schema.get("allOf")) if isinstance(part, Mapping))]
        lists = [listed(part["enum"]) for part in parts if "enum" in part]
        lists += [[part["const"]] for part in parts if "const" in part]
        if not lists or not has_key(schema, _REPLACED):
            return schema
        try:
            chosen = [value for value in lists[0] if self._document.matches(value, schema)]
        except NotExact:
            return schema
        return {**{key: value for key, value in schema.items() if key not in KEYWORDS}, "enum": chosen}

    def _replacement(self, keyword: str, schema: Mapping[str, Any]) -> Any:
        """A schema of the values that fulfil a keyword of `schema`. Raises NotExact."""
        match keyword:
            case "not":
                return self._negate(schema["not"])
            case "if":
                then, otherwise = schema.get("then", True), schema.get("else", True)
                return any_of([all_of([schema["if"], then]), all_of([self._negate(schema["if"]), otherwise])])
            case "oneOf":
                return self._exclusive(schema["oneOf"])
        return all_of([_dependency(name, needed) for name, needed in schema[keyword].items()])

    def _exclusive(self, options: Any) -> Any:
        """Convert the options of `oneOf` to options of `anyOf` with the same valid values."""
        if not isinstance(options, list) or not options or len(options) > _MAX_OPTIONS:
            raise NotExact
        if all(self._document.are_disjoint(*pair) for pair in combinations(options, 2)):
            return {"anyOf": options}
        return any_of([all_of([option, *self._excluded(index, options)]) for index, option in enumerate(options)])

    def _excluded(self, index: int, options: Sequence[Any]) -> list[Any]:
        """The negations of the other options that overlap with one option."""
        others = [*options[:index], *options[index + 1 :]]
        return [self._negate(other) for other in others if not self._document.are_disjoint(options[index], other)]

    # Negation

    def _negate(self, schema: Any) -> Any:
        """A schema of all values that do not match. Raises NotExact."""
        self._document.spend()
        if isinstance(schema, bool):
            return not schema
        if not isinstance(schema, Mapping):
            raise NotExact
        limits = {key: value for key, value in schema.items() if key in KEYWORDS}
        if "$ref" in limits and len(limits) > 1:
            raise NotExact
        return any_of(
            self._negate(self._replacement(key, limits)) if key in _REPLACED[1:] else self._negate_keyword(key, value)
            for key, value in limits.items()
            if key not in ("then", "else")
        )

    def _negate_keyword(self, keyword: str, value: Any) -> Any:
        match keyword:
            case "not":
                return value
            case "$ref":
                return self._negate(self._document.resolve(value))
            case "anyOf":
                return all_of([self._negate(option) for option in value])
            case "allOf":
                return any_of([self._negate(option) for option in value])
            case "type":
                return negated_types({value} if isinstance(value, str) else set(value))
            case "enum" | "const":
                return other_values(value if keyword == "enum" else [value])
            case "required":
                return any_of([{"type": "object", "properties": {name: False}} for name in value])
            case "properties":
                negated = {name: self._negate(schema) for name, schema in value.items()}
                return any_of([member(name, schema) for name, schema in negated.items() if schema is not False])
            case "propertyNames":
                return self._some_name(value)
            case "additionalProperties" if value in (True, {}):
                return False
        return negated_bound(keyword, value)

    def _some_name(self, names: Any) -> Any:
        """A schema of the objects with a member whose name does not match the schema `names`."""
        if names is False:
            return {"type": "object", "minProperties": 1}
        excluded = names.get("not") if isinstance(names, Mapping) and names.keys() == {"not"} else None
        if not isinstance(excluded, Mapping) or excluded.keys() != {"enum"}:
            raise NotExact
        return any_of([{"type": "object", "required": [name]} for name in excluded["enum"] if isinstance(name, str)])


def _references_exist(schema: Any, document: Document) -> bool:
    """Whether all local references in a schema have a target."""
    if isinstance(schema, list):
        return all(_references_exist(item, document) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    reference = schema.get("$ref")
    exists = not isinstance(reference, str) or reference[:2] != "#/" or document.has(reference)
    return exists and all(_references_exist(value, document) for value in schema.values())


def _spelled(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema whose bounds, format and listed values are written as llguidance enforces them."""
    schema = spell_bounds(schema)
    name = schema.get("format")
    spelled = spell_format(name) if isinstance(name, str) else None
    if spelled is not None:
        schema = _joined(_without(schema, "format"), spelled)
    for keyword in ("enum", "const"):
        if keyword in schema:
            spelled = spell_values(listed(schema["enum"]) if keyword == "enum" else [schema["const"]])
            schema = schema if "enum" in spelled else _joined(_without(schema, keyword), spelled)
    return schema


def _without(schema: Mapping[str, Any], *keywords: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in keywords}


def _joined(schema: Mapping[str, Any], part: Any) -> Mapping[str, Any]:
    """A schema of the values that match both schemas."""
    if part is True:
        return schema
    if isinstance(part, Mapping) and part.keys() <= {"pattern", "anyOf", "enum"} and not part.keys() & schema.keys():
        return {**schema, **part}
    return {**schema, "allOf": [*listed(schema.get("allOf")), part]}


def _dependency(name: str, needed: Any) -> Any:
    """Either the member `name` is absent, or it is present together with `needed`."""
    present = {"required": [name, *needed]} if isinstance(needed, list) else all_of([{"required": [name]}, needed])
    return any_of([{"properties": {name: False}}, present])
