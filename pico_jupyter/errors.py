"""Defines all errors that a client receives. Each class has an HTTP status, and some have a code for programs.

PicoError                     500
├── InvalidRequest            400   a field is invalid; `param` names it
│   ├── ContextLengthExceeded 400   the prompt exceeds the context
│   ├── ReasoningUnsupported  400   reasoning is required and the model cannot reason
│   ├── MediaUnsupported      400   the model does not support the images or videos of the request
│   └── TemplateFailed        400   the chat template raised an exception
├── Unauthenticated           401   credentials are missing or wrong
├── Forbidden                 403   the server does not allow the operation
├── NotFound                  404   the path does not exist
│   └── ModelNotFound         404   the model is not in the catalog
├── MethodNotAllowed          405   the path exists and does not support the method
├── Conflict                  409   the operation is not possible now, because of other requests
├── RequestTooLarge           413   the body exceeds the limit
├── NotSupported              501   the endpoint is not implemented
├── QueueFull                 503   the queue is full, or the request waited too long in it
├── EngineUnavailable         503   the model kernel is not running; a retry starts it again
├── HubUnavailable            503   the Hugging Face hub does not answer, or refuses requests for now
├── ModelLoadFailed           500   the model's files cannot be loaded
├── OutOfMemory               500   the model or the request does not fit into memory
└── EngineFailed              500   the engine raised an exception, or the model kernel ended during the answer
"""

from __future__ import annotations

from typing import ClassVar


class PicoError(Exception):
    """Base of all errors that a client receives.

    message: for people. param: the invalid field. code: for programs; None: the default_code of the class.
    model: the model's name as the client wrote it, if the error concerns a model.
    retry_after: seconds after which a retry is useful; 0: unknown.
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
    """A field of the request is invalid."""

    http_status = 400


class ContextLengthExceeded(InvalidRequest):
    """The prompt exceeds the context."""

    default_code = "context_length_exceeded"


class ReasoningUnsupported(InvalidRequest):
    """The request requires reasoning and the model cannot reason."""


class MediaUnsupported(InvalidRequest):
    """The request contains images or videos that the model does not support."""


class TemplateFailed(InvalidRequest):
    """The model's chat template raised an exception."""


class Unauthenticated(PicoError):
    """Credentials are missing or wrong."""

    http_status = 401
    default_code = "invalid_api_key"


class Forbidden(PicoError):
    """The server does not allow the operation."""

    http_status = 403


class NotFound(PicoError):
    """The path does not exist."""

    http_status = 404


class ModelNotFound(NotFound):
    """The model is not in the catalog."""

    default_code = "model_not_found"


class MethodNotAllowed(PicoError):
    """The path exists and does not support the method."""

    http_status = 405
    default_code = "method_not_allowed"


class Conflict(PicoError):
    """The operation is not possible now, because of other requests."""

    http_status = 409
    default_code = "conflict"


class RequestTooLarge(PicoError):
    """The request's body exceeds the limit."""

    http_status = 413
    default_code = "request_too_large"


class NotSupported(PicoError):
    """The endpoint is not implemented."""

    http_status = 501


class QueueFull(PicoError):
    """The queue is full, or the request waited too long in it. Retry after `retry_after` seconds."""

    http_status = 503
    default_code = "server_busy"


class EngineUnavailable(PicoError):
    """The model kernel is not running. A retry starts it again."""

    http_status = 503
    default_code = "engine_unavailable"


class HubUnavailable(PicoError):
    """The Hugging Face hub does not answer, or refuses requests for now."""

    http_status = 503
    default_code = "hub_unavailable"


class ModelLoadFailed(PicoError):
    """The model's files cannot be loaded."""


class OutOfMemory(PicoError):
    """The model or the request does not fit into memory."""


class EngineFailed(PicoError):
    """The engine raised an exception, or the model kernel ended during the answer."""
