"""Defines the link: the messages between the Jupyter server and the model kernel, and their encoding.

The `id` of a request is its number, from 1. The deltas of a stream are numbered from 1, too; a gap fails the stream.
Requests and replies travel on the shell and control channels. Their ROUTER and DEALER sockets have no high-water mark,
so they lose no message and keep the order. Heartbeats and events are published on iopub, which may lose messages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, TypeAlias, cast, get_args

import msgspec
from jupyter_client.session import Session

from pico_jupyter import errors
from pico_jupyter.engine_reports import EngineEvent
from pico_jupyter.errors import EngineFailed, PicoError
from pico_jupyter.questions import (
    A,
    AnyQuestion,
    DetokenizePrompt,
    Embed,
    FindModel,
    ListModels,
    ListSkipped,
    LoadModel,
    Question,
    TokenizePrompt,
)
from pico_jupyter.types import Delta, EngineOptions, GenerationRequest

Channel: TypeAlias = Literal["shell", "control"]

# The types of the Jupyter messages. Each carries one message of the link as its only buffer.
REQUEST_TYPE = "pico_request"
REPLY_TYPE = "pico_reply"
PUBLISHED_TYPE = "pico_published"

# The environment variable with the path that the launcher added to LD_PRELOAD, see hide_preloaded().
PRELOADED_VARIABLE = "PICO_JUPYTER_PRELOADED"


class ErrorReport(msgspec.Struct, frozen=True):
    """A PicoError as data. `kind` is the name of its class."""

    kind: str
    message: str
    param: str | None = None
    code: str | None = None
    model: str = ""
    retry_after: int = 0


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Starts a stream. Sent on shell. The replies are DeltaBatches, which end with Finished, or Failed."""

    channel: ClassVar[Channel] = "shell"
    id: int
    request: GenerationRequest


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Asks a question. Sent on shell or control, see channel_of(). The reply is Answered or Failed."""

    id: int
    question: AnyQuestion

    @property
    def channel(self) -> Channel:
        """Control for questions that must not wait for a long load, shell for the others."""
        may_wait = ListModels | ListSkipped | FindModel | LoadModel | Embed | TokenizePrompt | DetokenizePrompt
        return "shell" if isinstance(self.question, may_wait) else "control"


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    """Aborts request `id`, without a reply. Sent on control, so it may arrive before the request, which uses shell."""

    channel: ClassVar[Channel] = "control"
    id: int


LinkRequest: TypeAlias = Generate | Ask | Abort


class DeltaBatch(msgspec.Struct, frozen=True):
    """Consecutive deltas of one stream. `first` is the number of the first delta.

    `tokens` has, for each choice, the tokens whose deltas are here or were sent before. Those of later deltas are not
    among them, so another kernel can continue the answer exactly after this batch.
    """

    id: int
    first: int
    deltas: tuple[Delta, ...]
    tokens: tuple[tuple[int, ...], ...] = ()


class DeltaBatches(msgspec.Struct, frozen=True, tag="deltas"):
    """A reply with new deltas of one or more streams."""

    batches: tuple[DeltaBatch, ...]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A reply: request `id` failed. A stream can fail after some of its deltas."""

    id: int
    error: ErrorReport


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """The reply to Ask. answer_to() decodes `answer`."""

    id: int
    answer: bytes


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """Published each second while requests are running. `active` contains their ids."""

    active: tuple[int, ...]


class PublishedEvent(msgspec.Struct, frozen=True, tag="event"):
    """Published when a model is loaded or unloaded; with statistics each second while requests run, and once after."""

    event: EngineEvent


KernelMessage: TypeAlias = DeltaBatches | Failed | Answered | Heartbeat | PublishedEvent

# encode() returns the bytes of a message, or of the answer to a question. Decoding raises msgspec.DecodeError.
encode = msgspec.msgpack.Encoder().encode
decode_request: Callable[[bytes | memoryview], LinkRequest] = msgspec.msgpack.Decoder(LinkRequest).decode
decode_message: Callable[[bytes | memoryview], KernelMessage] = msgspec.msgpack.Decoder(KernelMessage).decode
# Each question derives from Question[A], where A is the type of its answer.
_answers_to = {kind: msgspec.msgpack.Decoder(get_args(kind.__orig_bases__[0])[0]) for kind in get_args(AnyQuestion)}


def _error_classes(base: type[PicoError]) -> dict[str, type[PicoError]]:
    found = {base.__name__: base}
    for sub in base.__subclasses__():
        if sub.__module__ == errors.__name__:
            found |= _error_classes(sub)
    return found


ERROR_CLASSES = _error_classes(PicoError)


def answer_to(question: Question[A], answer: bytes) -> A:
    """Decode the encoded answer to `question`. Raises msgspec.DecodeError."""
    return cast(A, _answers_to[type(question)].decode(answer))


def report(error: PicoError) -> ErrorReport:
    """Convert an error for the link."""
    kind = type(error).__name__
    return ErrorReport(kind, error.message, error.param, error.code, error.model, error.retry_after)


def error_from(report: ErrorReport) -> PicoError:
    """Convert a report to a PicoError: an EngineFailed if this process has no class of the reported name."""
    kind = ERROR_CLASSES.get(report.kind, EngineFailed)
    return kind(
        report.message, param=report.param, code=report.code, model=report.model, retry_after=report.retry_after
    )


def serialize(session: Session, kind: str, payload: bytes, idents: list[bytes] | None = None) -> list[bytes]:
    """The parts of the Jupyter message that carries `payload`. Jupyter signs the content, but not the buffer, so the
    content is the payload's hash.
    """
    message = session.msg(kind, {"sha256": hashlib.sha256(payload).hexdigest()})
    return [*session.serialize(message, idents), payload]


def matches_digest(content: Mapping[str, object], payload: bytes | memoryview) -> bool:
    """Whether the signed `content` has the hash of `payload`."""
    return content.get("sha256") == hashlib.sha256(payload).hexdigest()


def options_text(options: EngineOptions) -> str:
    """Encode the options for a command line, as JSON with `Infinity` for infinite numbers."""
    return json.dumps(msgspec.to_builtins(options))


def options_from(text: str) -> EngineOptions:
    """Decode the text of options_text(). Raises ValueError."""
    return msgspec.convert(json.loads(text), EngineOptions)
