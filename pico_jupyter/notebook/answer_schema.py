"""AnswerSchema: the structure of an answer, from a type or a JSON schema, and the value of an answer with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pico_jupyter.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """What the text of an answer must be. `text` is a JSON schema; `parse` converts the text of an answer."""

    text: str
    parse: Callable[[str], Any]


def read_schema(schema: Any) -> AnswerSchema | None:
    """Read the argument `schema` of Pico.chat. Raises InvalidRequest.

    Pydantic is not imported: a model is recognized by its methods, and so is a TypeAdapter.
    """
    if schema is None:
        return None
    if isinstance(schema, Mapping):
        return AnswerSchema(_encode(schema), json.loads)
    for describe, validate in (("model_json_schema", "model_validate_json"), ("json_schema", "validate_json")):
        if hasattr(schema, describe) and hasattr(schema, validate):
            return AnswerSchema(_encode(_closed(getattr(schema, describe)())), getattr(schema, validate))
    return AnswerSchema(_encode(_closed(_describe(schema))), lambda text: msgspec.json.decode(text, type=schema))


def _describe(kind: Any) -> dict[str, Any]:
    if isinstance(kind, str):
        raise _refused(kind)
    try:
        return msgspec.json.schema(kind)
    except (TypeError, NameError):
        raise _refused(kind) from None


def _refused(schema: object) -> InvalidRequest:
    allowed = "a pydantic model, a dataclass, a TypedDict, another type, or a dict with a JSON schema"
    return InvalidRequest(f"schema: must be {allowed}, not {schema!r:.100}", param="schema")


def _encode(schema: Mapping[str, Any]) -> str:
    try:
        return json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"schema: is not a JSON schema: {error}", param="schema") from None


def _closed(schema: Any) -> Any:
    """Forbid members that a type does not have. Its schema allows them, and a model would add some."""
    if isinstance(schema, list):
        return [_closed(member) for member in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(member) for name, member in schema.items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed
