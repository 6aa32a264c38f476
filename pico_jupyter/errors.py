"""The tree of failures. Each class carries its code and HTTP status; dialects only choose the words around it.

PicoError                     500
├── InvalidRequest            400   a field is wrong; `param` names it
│   ├── ContextLengthExceeded 400   the prompt does not fit the context
│   ├── ReasoningUnsupported  400   reasoning was demanded of a model that has none
│   ├── MediaUnsupported      400   media for a model that cannot see
│   └── TemplateFailed        400   the chat template raised
├── Unauthenticated           401   no or wrong credentials
├── Forbidden                 403   the server does not allow it
├── NotFound                  404   no such path
│   └── ModelNotFound         404   no such model in the catalog
├── MethodNotAllowed          405   the path takes other methods
├── RequestTooLarge           413   the body is over the limit
├── NotSupported              501   an endpoint that this server does not implement
├── QueueFull                 503   the bounded queue is full; `retry_after` seconds
├── EngineUnavailable         503   the model kernel is not there (starting failed, or it died); trying again helps
├── ModelLoadFailed           500   the files are there and cannot be loaded
├── OutOfMemory               500   the model or the request does not fit in memory
└── EngineFailed              500   the engine raised, or the model kernel died in the middle of an answer
"""

from __future__ import annotations

from typing import ClassVar


class PicoError(Exception):
    """Base of every failure that a caller sees.

    `message` is for people, `param` names the offending field, `code` is a machine-readable word, `model` the model's
    name as the caller wrote it where the failure is about a model, `retry_after` seconds.
    """

    http_status: ClassVar[int] = 500
    default_code: ClassVar[str | None] = None

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, model: str = "", retry_after: int = 0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.model = model
        self.retry_after = retry_after

    def __repr__(self) -> str:
        where = f" at {self.param}" if self.param else ""
        return f"<{type(self).__name__}{where}: {self.message}>"


class InvalidRequest(PicoError):
    """A field of the request is wrong."""

    http_status = 400


class ContextLengthExceeded(InvalidRequest):
    """The prompt is longer than the context."""

    default_code = "context_length_exceeded"


class ReasoningUnsupported(InvalidRequest):
    """Reasoning was demanded of a model that cannot reason."""


class MediaUnsupported(InvalidRequest):
    """The request holds media and the model cannot see."""


class TemplateFailed(InvalidRequest):
    """The model's chat template raised."""


class Unauthenticated(PicoError):
    """No or wrong credentials."""

    http_status = 401
    default_code = "invalid_api_key"


class Forbidden(PicoError):
    """The server's owner does not allow this."""

    http_status = 403


class NotFound(PicoError):
    """There is no such path."""

    http_status = 404


class ModelNotFound(NotFound):
    """There is no such model in the catalog."""

    default_code = "model_not_found"


class MethodNotAllowed(PicoError):
    """The path exists and takes other methods."""

    http_status = 405
    default_code = "method_not_allowed"


class RequestTooLarge(PicoError):
    """The body is over the limit."""

    http_status = 413
    default_code = "request_too_large"


class NotSupported(PicoError):
    """An endpoint that this server does not implement."""

    http_status = 501


class QueueFull(PicoError):
    """The bounded queue is full; try again after `retry_after` seconds."""

    http_status = 503
    default_code = "server_busy"


class EngineUnavailable(PicoError):
    """The model kernel could not be reached; trying again helps."""

    http_status = 503
    default_code = "engine_unavailable"


class ModelLoadFailed(PicoError):
    """The model's files are there and cannot be loaded."""


class OutOfMemory(PicoError):
    """The model or the request does not fit in memory."""


class EngineFailed(PicoError):
    """The engine raised, or the model kernel died in the middle of an answer."""
