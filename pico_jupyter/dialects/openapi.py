"""Builds the OpenAPI document of all endpoints from the Structs of requests and answers and from the error tree.

OPERATIONS lists the endpoints. Most exist twice: below the server's base URL, and below pico/ at that URL. Ollama's
heartbeat and the document itself exist only below pico/.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pico_jupyter.dialects import ollama_answer_schema, ollama_request, openai_answer_schema, openai_request
from pico_jupyter.dialects.anthropic_answer_schema import AnthropicModel, AnthropicModelList
from pico_jupyter.dialects.anthropic_errors import AnthropicError
from pico_jupyter.dialects.anthropic_operations import ANTHROPIC_OPERATIONS
from pico_jupyter.dialects.completions_operations import COMPLETIONS_OPERATIONS
from pico_jupyter.dialects.download_operations import DOWNLOAD_OPERATIONS, DOWNLOAD_PARAMETERS, PULL_OPERATIONS
from pico_jupyter.dialects.embedding_operations import EMBEDDING_OPERATIONS
from pico_jupyter.dialects.framing import JSON_TYPE, NDJSON_TYPE, SSE_END, SSE_TYPE
from pico_jupyter.dialects.openapi_operation import (
    ACCESS_ERRORS,
    GENERATE_ERRORS,
    MODEL_ERRORS,
    POST_ERRORS,
    READ_ERRORS,
    REFUSED_ERRORS,
    Dialect,
    Errors,
    Mount,
    Operation,
)
from pico_jupyter.dialects.request_bodies import ignored_names
from pico_jupyter.dialects.request_fields import IGNORED_KEYWORD, ModelName, RequestStruct
from pico_jupyter.dialects.responses_operations import RESPONSES_OPERATIONS
from pico_jupyter.dialects.tool_operations import TOOL_OPERATIONS, TOOL_PARAMETERS
from pico_jupyter.engine_reports import MemoryReport
from pico_jupyter.errors import PicoError, Unauthenticated

Json: TypeAlias = dict[str, Any]

SECOND_MOUNT = "pico"
TEXT_TYPE = "text/plain"

_REFERENCE = "#/components/schemas/{name}"
_ERRORS: dict[Dialect, type[msgspec.Struct]] = {
    "OpenAI": openai_answer_schema.OpenAIError,
    "Ollama": ollama_answer_schema.OllamaError,
    "Anthropic": AnthropicError,
}

_INFO = """\
Chat with models on the machine of a Jupyter server, over the OpenAI API, the Anthropic API or the Ollama API.

Every path exists twice: at the server's root and below `pico/`. A path may end in a slash. Methods that are not listed
get status 405 and an `Allow` header. Bodies are read as JSON, regardless of `Content-Type`. Fields that are not listed
or have `x-ignored` are ignored. null counts as omitted.

Every response has an `x-request-id`. Before the first byte, an error is an HTTP status. Later, it is the last line of
an Ollama stream, the event before `[DONE]` in an OpenAI stream, the event `error` in an Anthropic stream, or the events
`error` and `response.failed` of v1/responses. SSE comments, leading spaces or the event `ping` keep streams alive.
"""


class StatusBody(msgspec.Struct, frozen=True):
    """The server responds."""

    status: Literal["ok"]


def _openai_chat(path: str, summary: str) -> Operation:
    answer, chunk = openai_answer_schema.ChatCompletion, openai_answer_schema.ChatCompletionChunk
    return _generating(path, summary, openai_request.OpenAIChatRequest, answer, chunk)


def _generating(
    path: str, summary: str, request: type[msgspec.Struct], answer: type[msgspec.Struct], chunk: type[msgspec.Struct]
) -> Operation:
    dialect: Dialect = "OpenAI" if path.startswith("v1/") else "Ollama"
    return Operation("post", path, dialect, summary, (request,), answer, chunk, GENERATE_ERRORS)


def _openai_get(
    path: str, summary: str, answer: type[msgspec.Struct], errors: Errors = READ_ERRORS, mount: Mount = "both"
) -> Operation:
    return Operation("get", path, "OpenAI", summary, answer=answer, errors=errors, mount=mount, head=True)


def _models(
    path: str, summary: str, answer: type[msgspec.Struct], other: type[msgspec.Struct], errors: Errors = READ_ERRORS
) -> Operation:
    return Operation("get", path, "OpenAI", summary, answer=answer, anthropic=other, errors=errors, head=True)


def _ollama_get(path: str, summary: str, answer: type[msgspec.Struct], errors: Errors = READ_ERRORS) -> Operation:
    return Operation("get", path, "Ollama", summary, answer=answer, errors=errors, head=True)


def _refused(path: str, reason: str, errors: Errors, *, head: bool = False) -> Operation:
    return Operation("post", path, "Ollama", f"Refuse: {reason}.", errors=errors, head=head)


OPERATIONS: tuple[Operation, ...] = (
    _openai_chat("v1/chat/completions", "Chat. Streams if `stream` is true."),
    _openai_chat("v1/chat", "Chat. Streams unless `stream` is false."),
    *RESPONSES_OPERATIONS,
    *COMPLETIONS_OPERATIONS,
    *ANTHROPIC_OPERATIONS,
    _models("v1/models", "List the models.", openai_answer_schema.OpenAIModelList, AnthropicModelList),
    _models("v1/models/{id}", "Describe a model.", openai_answer_schema.OpenAIModel, AnthropicModel, MODEL_ERRORS),
    _openai_get("v1", "Check that the server responds.", StatusBody, ACCESS_ERRORS),
    _openai_get("v1/memory", "Report the memory budget, the needs of each model, and running loads.", MemoryReport),
    _openai_get(
        "v1/usage",
        "Report the user's answered requests and their tokens since the server's start, for each model.",
        openai_answer_schema.UsageReport,
        ACCESS_ERRORS,
    ),
    _generating(
        "api/chat",
        "Chat, or load or unload a model. Streams unless `stream` is false.",
        ollama_request.OllamaChatRequest,
        ollama_answer_schema.OllamaChatAnswer,
        ollama_answer_schema.OllamaChatAnswer,
    ),
    _generating(
        "api/generate",
        "Complete a prompt, or load or unload a model. Streams unless `stream` is false.",
        ollama_request.OllamaGenerateRequest,
        ollama_answer_schema.OllamaGenerateAnswer,
        ollama_answer_schema.OllamaGenerateAnswer,
    ),
    *EMBEDDING_OPERATIONS,
    _ollama_get("api/tags", "List the models.", ollama_answer_schema.OllamaTagList),
    _ollama_get("api/ps", "List the models in memory.", ollama_answer_schema.OllamaProcessList),
    _ollama_get(
        "api/version",
        "Report the Ollama version that this API corresponds to, and the version of pico_jupyter.",
        ollama_answer_schema.OllamaVersion,
        ACCESS_ERRORS,
    ),
    Operation(
        "post",
        "api/show",
        "Ollama",
        "Describe a model.",
        requests=(ollama_request.OllamaShowRequest, ollama_request.OllamaOldShowRequest),
        answer=ollama_answer_schema.OllamaShowAnswer,
        errors=POST_ERRORS,
    ),
    *PULL_OPERATIONS,
    *(_refused(f"api/{name}", "not supported", REFUSED_ERRORS) for name in ("copy", "create", "push")),
    _refused("api/blobs/{digest}", "not supported", REFUSED_ERRORS, head=True),
    Operation(
        "get",
        "",
        "Ollama",
        "Answer the heartbeat of Ollama's clients, without authentication.",
        text="Ollama is running",
        errors=ACCESS_ERRORS,
        mount="pico",
        head=True,
        open=True,
    ),
    *DOWNLOAD_OPERATIONS,
    *TOOL_OPERATIONS,
    _openai_get("openapi.json", "This document.", msgspec.Struct, ACCESS_ERRORS, "pico"),
)

_NO_SLASH: Json = {"pattern": "^[A-Za-z0-9_-]+$"}
_PARAMETERS: Json = {
    "id": Annotated[ModelName, Meta(description="A name from the list of models.")],
    "response_id": Annotated[str, Meta(min_length=1, description="The id of a response.", extra_json_schema=_NO_SLASH)],
    "digest": Annotated[str, Meta(min_length=1, description="A digest in Ollama's format.")],
    **DOWNLOAD_PARAMETERS,
    **TOOL_PARAMETERS,
}

_VERSION_HEADER: Json = {
    "name": "anthropic-version",
    "in": "header",
    "description": "If present, the answer has Anthropic's format.",
    "schema": {"type": "string", "examples": ["2023-06-01"]},
}

_SECURITY_SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The Jupyter server's token."},
    "token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "The word `token`, a space, and the Jupyter server's token.",
    },
    "basic": {"type": "http", "scheme": "basic", "description": "Any user name; the password is the token."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The token."},
    "query": {"type": "apiKey", "in": "query", "name": "token", "description": "The token. Servers may log it."},
}

_HEADERS: dict[int, Json] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}},
    503: {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}},
}
_REQUEST_ID: Json = {
    "x-request-id": {"description": "Identifies the request in the server's log.", "schema": {"type": "string"}}
}


def openapi_document(*, base_url: str, version: str, authenticated: bool) -> Json:
    """Build the document of a server at `base_url` ("/user/a/"). `authenticated`: whether a token is required."""
    paths: Json = {}
    for operation in OPERATIONS:
        item = paths.setdefault(f"/{operation.path}", _servers(base_url, operation.mount))
        item.update(_verbs(operation, authenticated=authenticated))
    return {
        "openapi": "3.1.1",
        "info": {"title": "pico_jupyter", "version": version, "description": _INFO},
        "servers": [{"url": _join(base_url)}, {"url": _join(base_url, SECOND_MOUNT)}],
        "paths": paths,
        "components": {
            "schemas": _components(),
            **({"securitySchemes": _SECURITY_SCHEMES} if authenticated else {}),
        },
        **({"security": [{name: []} for name in _SECURITY_SCHEMES]} if authenticated else {}),
    }


def _join(base_url: str, mount: str = "") -> str:
    return f"{base_url.rstrip('/')}/{mount}".rstrip("/") or "/"


def _servers(base_url: str, mount: Mount) -> Json:
    return {"servers": [{"url": _join(base_url, SECOND_MOUNT)}]} if mount == "pico" else {}


def _verbs(operation: Operation, *, authenticated: bool) -> Json:
    described = _describe(operation, authenticated=authenticated)
    if not operation.head:
        return {operation.method: described}
    responses = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in described["responses"].items()
    }
    return {operation.method: described, "head": {**described, "responses": responses}}


def _describe(operation: Operation, *, authenticated: bool) -> Json:
    names = [name for name in _PARAMETERS if f"{{{name}}}" in operation.path]
    described: Json = {
        "tags": [operation.dialect],
        "summary": operation.summary,
        "responses": _responses(operation, authenticated=authenticated),
    }
    parameters = [_parameter(name, "path") for name in names]
    parameters += [_parameter(name, "query") for name in operation.query]
    if operation.anthropic is not None:
        parameters.append(_VERSION_HEADER)
    if parameters:
        described["parameters"] = parameters
    if operation.requests:
        schema = _any_of([_reference(kind) for kind in operation.requests])
        described["requestBody"] = {"required": True, "content": {JSON_TYPE: {"schema": schema}}}
    if operation.open and authenticated:
        described["security"] = [{}]
    return described


def _parameter(name: str, place: Literal["path", "query"]) -> Json:
    schema = msgspec.json.schema(_PARAMETERS[name])
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _responses(operation: Operation, *, authenticated: bool) -> Json:
    responses: Json = {}
    content = _success(operation)
    if content or operation.is_empty:
        success = {"description": operation.summary, "headers": _REQUEST_ID}
        responses[str(operation.status)] = {**success, "content": content} if content else success
    authentication: Errors = (Unauthenticated,) if authenticated and not operation.open else ()
    for status, errors in _by_status((*operation.errors, *authentication)).items():
        responses[str(status)] = {
            "description": " Or: ".join(_sentence(error) for error in errors),
            "headers": {**_REQUEST_ID, **_HEADERS.get(status, {})},
            "content": {JSON_TYPE: {"schema": _failure(operation)}},
        }
    return responses


def _success(operation: Operation) -> Json:
    if operation.text:
        return {TEXT_TYPE: {"schema": {"const": operation.text}}}
    content: Json = {}
    if operation.answer is not None:
        kinds = [kind for kind in (operation.answer, operation.anthropic) if kind is not None]
        content[JSON_TYPE] = {"schema": _any_of([_reference(kind) for kind in kinds])}
    if operation.chunk is not None:
        pieces = operation.chunk if isinstance(operation.chunk, tuple) else (operation.chunk,)
        piece = {"anyOf": [*map(_reference, pieces), _failure(operation)]}
        has_end = not isinstance(operation.chunk, tuple)
        content.update(_lines(piece) if operation.dialect == "Ollama" else _events(piece, has_end=has_end))
    return content


def _events(piece: Json, *, has_end: bool) -> Json:
    """Describe one server-sent event, because OpenAPI 3.1 cannot describe a stream of events."""
    data: Json = {"contentMediaType": JSON_TYPE, "contentSchema": piece}
    if has_end:
        data = {"anyOf": [{"const": SSE_END}, data]}
    event = {
        "description": f"One event of the stream; the last one is {SSE_END}."
        if has_end
        else "One event of the stream.",
        "type": "object",
        "properties": {"data": {"type": "string", **data}},
        "required": ["data"],
    }
    return {SSE_TYPE: {"schema": event}}


def _lines(piece: Json) -> Json:
    return {NDJSON_TYPE: {"schema": {"description": "The lines of the stream.", "type": "array", "items": piece}}}


def _failure(operation: Operation) -> Json:
    kinds = [_reference(_ERRORS[operation.dialect])]
    if operation.anthropic is not None:
        kinds.append(_reference(AnthropicError))
    return _any_of(kinds)


def _any_of(schemas: list[Json]) -> Json:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _by_status(errors: Iterable[type[PicoError]]) -> dict[int, list[type[PicoError]]]:
    grouped: dict[int, list[type[PicoError]]] = {}
    for error in sorted(errors, key=lambda error: error.http_status):
        grouped.setdefault(error.http_status, []).append(error)
    return grouped


def _sentence(error: type[PicoError]) -> str:
    return (error.__doc__ or "").partition("\n")[0]


def _reference(kind: type[msgspec.Struct]) -> Json:
    return {"type": "object"} if kind is msgspec.Struct else {"$ref": _REFERENCE.format(name=kind.__name__)}


def _components() -> Json:
    requests = _schemas(kind for operation in OPERATIONS for kind in operation.requests)
    answers = _schemas(kind for operation in OPERATIONS for kind in _answers(operation))
    structs = {kind.__name__: kind for kind in _descendants(RequestStruct)}
    return {
        **{name: _request_schema(schema, structs[name]) for name, schema in requests.items()},
        **{name: _answer_schema(schema) for name, schema in {**answers, **_schemas(_ERRORS.values())}.items()},
    }


def _answers(operation: Operation) -> tuple[type[msgspec.Struct] | None, ...]:
    return (
        operation.answer,
        operation.anthropic,
        *(operation.chunk if isinstance(operation.chunk, tuple) else (operation.chunk,)),
    )


def _schemas(kinds: Iterable[type[msgspec.Struct] | None]) -> Json:
    wanted = {kind for kind in kinds if kind is not None and kind is not msgspec.Struct}
    ordered = sorted(wanted, key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    return components


def _descendants(kind: type[RequestStruct]) -> list[type[RequestStruct]]:
    return [found for child in kind.__subclasses__() for found in (child, *_descendants(child))]


def _request_schema(schema: Json, struct: type[RequestStruct]) -> Json:
    """Add the ignored fields to a request's schema, and whether others are refused.

    Remove defaults of null, because null counts as omitted.
    """
    properties = schema.get("properties", {})
    for member in properties.values():
        if "default" in member and member["default"] is None:
            del member["default"]
    unread = sorted(ignored_names(struct) - properties.keys())
    ignored = {name: {"description": "Accepted and ignored.", IGNORED_KEYWORD: True} for name in unread}
    schema = {**schema, "properties": {**properties, **ignored}} if ignored else schema
    return {**schema, "additionalProperties": False} if struct.is_closed else schema


def _answer_schema(schema: Json) -> Json:
    """Mark the fields that an answer always contains as required: all except those whose default is UNSET."""
    properties: Json = schema.get("properties", {})
    required = [name for name, member in properties.items() if name in schema["required"] or "default" in member]
    for member in properties.values():
        member.pop("default", None)
    return {**schema, "required": required}
