"""Defines Operation, which describes one method of one path for the OpenAPI document, and its groups of errors."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from pico_jupyter.errors import (
    EngineFailed,
    EngineUnavailable,
    Forbidden,
    InvalidRequest,
    ModelLoadFailed,
    ModelNotFound,
    NotFound,
    NotSupported,
    OutOfMemory,
    PicoError,
    QueueFull,
    RequestTooLarge,
)

Errors: TypeAlias = tuple[type[PicoError], ...]
Dialect: TypeAlias = Literal["OpenAI", "Ollama", "Anthropic"]
Mount: TypeAlias = Literal["both", "pico"]

ACCESS_ERRORS: Errors = (Forbidden, NotFound)
READ_ERRORS: Errors = (*ACCESS_ERRORS, EngineUnavailable)
MODEL_ERRORS: Errors = (*READ_ERRORS, ModelNotFound, InvalidRequest)
POST_ERRORS: Errors = (*MODEL_ERRORS, RequestTooLarge)
# The errors of endpoints that always answer with 404, and of endpoints that always answer with 501.
NOT_FOUND_ERRORS: Errors = (*ACCESS_ERRORS, RequestTooLarge)
REFUSED_ERRORS: Errors = (*NOT_FOUND_ERRORS, NotSupported)
GENERATE_ERRORS: Errors = (*POST_ERRORS, QueueFull, ModelLoadFailed, OutOfMemory, EngineFailed)


class Operation(msgspec.Struct, frozen=True):
    """One method of one path.

    requests: Structs, one of which fits the body. answer: Struct of the whole answer. chunk: Struct of each part of a
    streamed answer. Several: a part has one of them, and the stream has no [DONE]. errors: possible errors, without
    those of authentication. mount: "pico": only below pico/.
    anthropic: Struct of the answer to requests with the header anthropic-version. Their errors have Anthropic's format.
    head: HEAD is supported too. open: without authentication. text: the answer, if it is not JSON.
    query: names of query parameters. status: of a success. is_empty: a success has no body.
    """

    method: Literal["get", "post", "patch", "delete"]
    path: str
    dialect: Dialect
    summary: str
    requests: tuple[type[msgspec.Struct], ...] = ()
    answer: type[msgspec.Struct] | None = None
    chunk: type[msgspec.Struct] | tuple[type[msgspec.Struct], ...] | None = None
    errors: Errors = READ_ERRORS
    mount: Mount = "both"
    head: bool = False
    open: bool = False
    text: str = ""
    anthropic: type[msgspec.Struct] | None = None
    query: tuple[str, ...] = ()
    status: int = 200
    is_empty: bool = False
