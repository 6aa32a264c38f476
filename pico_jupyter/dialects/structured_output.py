"""Reads what the text of an answer must be: response_format, Ollama's format, and the fields of vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

import msgspec

from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.request_bodies import json_text
from pico_jupyter.dialects.request_errors import invalid
from pico_jupyter.dialects.request_fields import (
    GenerationFields,
    GuidedChoice,
    RequestStruct,
    SchemaOrText,
    about,
)
from pico_jupyter.types import Structure

# Ollama's spelling of "any JSON object".
_ANY_JSON = "json"


class SchemaHolder(RequestStruct, frozen=True):
    """A JSON schema and its name. It is always enforced, also without `strict`."""

    ignored = frozenset({"name", "description", "strict"})
    schema: dict[str, Any]


class TextFormat(RequestStruct, frozen=True, tag_field="type", tag="text"):
    """Text, which is the default."""


class JsonObjectFormat(RequestStruct, frozen=True, tag_field="type", tag="json_object"):
    """Any JSON object."""

    schema: Annotated[dict[str, Any] | None, about("The same as a json_schema, for clients of llama.cpp.")] = None


class JsonSchemaFormat(RequestStruct, frozen=True, tag_field="type", tag="json_schema"):
    """JSON that matches a schema."""

    json_schema: SchemaHolder


ResponseFormat: TypeAlias = TextFormat | JsonObjectFormat | JsonSchemaFormat


def read_structure(fields: GenerationFields, own: Structure | None, settings: DialectSettings) -> Structure | None:
    """Return the one structure of a request. `own`: the structure in the dialect's own field.

    Raises InvalidRequest if the request has several structures, or if one is malformed.
    """
    given = [own, *_guided(fields)] if own is not None else [*_guided(fields)]
    if len(given) > 1:
        first, second = given[0].param, given[1].param
        raise invalid(second, f"'{first}' and '{second}' cannot be combined: an answer has one structure.")
    return given[0] if given and settings.structured_outputs != "ignore" else None


def read_response_format(value: ResponseFormat | None) -> Structure | None:
    """Return the structure of OpenAI's response_format."""
    match value:
        case JsonSchemaFormat(json_schema=SchemaHolder(schema=schema)):
            return schema_structure(schema, "response_format")
        case JsonObjectFormat(schema=None):
            return Structure("json_object", param="response_format")
        case JsonObjectFormat(schema=schema):
            return schema_structure(schema, "response_format")
        case _:
            return None


def read_ollama_format(value: dict[str, Any] | str | None, settings: DialectSettings) -> Structure | None:
    """Return the structure of Ollama's format. A text has no effect unless `structured_outputs` is "enforce"."""
    if isinstance(value, dict):
        return schema_structure(value, "format")
    if not value or settings.structured_outputs != "enforce":
        return None
    if value != _ANY_JSON:
        text = f'invalid format: "{value[:64]}"; expected "json" or a valid JSON Schema object'
        raise invalid("format", text)
    return Structure("json_object", param="format")


def _guided(fields: GenerationFields) -> Iterator[Structure]:
    """Yield the structures of vLLM's fields: those of older versions, then those of newer ones."""
    yield from _texts(fields.guided_json, fields.guided_regex, fields.guided_choice, fields.guided_grammar, "guided_")
    if (outputs := fields.structured_outputs) is None:
        return
    yield from _texts(outputs.json, outputs.regex, outputs.choice, outputs.grammar, "structured_outputs.")
    if outputs.json_object:
        yield Structure("json_object", param="structured_outputs.json_object")
    if outputs.structural_tag is not None:
        param = "structured_outputs.structural_tag"
        raise invalid(param, f"'{param}' is not supported here.", "unsupported_value")


def _texts(
    schema: SchemaOrText | None, regex: str | None, choice: GuidedChoice | None, grammar: str | None, prefix: str
) -> Iterator[Structure]:
    if schema is not None:
        yield schema_structure(schema, f"{prefix}json")
    if regex is not None:
        yield Structure("regex", regex, f"{prefix}regex")
    if choice is not None:
        yield Structure("choice", json_text(choice, f"{prefix}choice"), f"{prefix}choice")
    if grammar is not None:
        yield Structure("grammar", grammar, f"{prefix}grammar")


def schema_structure(schema: object, param: str) -> Structure:
    """Return the structure of a JSON schema, which is an object or the JSON text of one."""
    if isinstance(schema, str):
        try:
            schema = msgspec.json.decode(schema)
        except (msgspec.MsgspecError, RecursionError):
            schema = None
        if not isinstance(schema, dict):
            raise invalid(param, f"Invalid value for '{param}': it is not the JSON text of an object.")
    return Structure("json_schema", json_text(schema, param), param)
