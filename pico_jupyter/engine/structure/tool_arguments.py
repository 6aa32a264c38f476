"""ToolSchema: the name of a tool and the JSON schema of its arguments, in the form that grammars need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pico_jupyter.engine.text.call_values import tool_parameters

# Keywords that can be enforced only in JSON. Other formats refuse a schema with one of them.
JSON_ONLY = (
    *("allOf", "not", "if", "then", "else", "contains", "uniqueItems", "prefixItems", "unevaluatedItems"),
    *("propertyNames", "patternProperties", "minProperties", "maxProperties", "unevaluatedProperties"),
    *("dependencies", "dependentRequired", "dependentSchemas"),
)
UNIONS = ("anyOf", "oneOf")


class NotForcible(ValueError):
    """No grammar can force calls of a tool in this format. The message says why."""


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """The name of a tool, the JSON schema of its arguments, and the schemas of its parameters without references."""

    name: str
    schema: Mapping[str, Any]
    properties: Mapping[str, Any]

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the parameters that a call must have."""
        return tuple(self.schema.get("required") or ())


def tool_schema(tool: Mapping[str, Any]) -> ToolSchema:
    """The schema of one tool in the JSON array of a request.

    Parameters that the schema does not list are excluded, unless it allows them explicitly. A tool without a schema has
    no parameters.
    """
    name, properties = tool_parameters(tool)
    inner = tool.get("function")
    given = (inner if isinstance(inner, Mapping) else tool).get("parameters")
    schema = {"type": "object", **(given if isinstance(given, Mapping) else {"properties": {}})}
    schema.pop("$id", None)  # It would change the base of the references.
    is_plain = not any(key in schema for key in (*UNIONS, *JSON_ONLY, "$ref"))
    if is_plain and "properties" in schema and all(key in properties for key in schema.get("required") or ()):
        schema.setdefault("additionalProperties", False)
    missing: dict[str, Any] = {key: {} for key in schema.get("required") or () if key not in properties}
    return ToolSchema(name, schema, {**properties, **missing})


def refuse_keywords(schema: Any, keywords: Sequence[str], where: str) -> None:
    """Raise NotForcible if a schema has one of the keywords."""
    found = next((key for key in keywords if isinstance(schema, Mapping) and key in schema), None)
    if found:
        raise NotForcible(f"{where} has the keyword {found!r}, which cannot be enforced outside JSON")
