"""The messages between the Jupyter server and the model kernel, and their bytes. Knows no socket and no engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Literal, TypeAlias, assert_never

import msgspec

from pico_jupyter import errors
from pico_jupyter.errors import EngineFailed, PicoError
from pico_jupyter.types import (
    Delta,
    EngineEvent,
    EngineOptions,
    Finished,
    GenerationRequest,
    MemoryReport,
    ModelInfo,
    ResidentModel,
)

# Invariants: `id` numbers the requests of one client, from 1; the deltas of one stream are frames, numbered from 1
# without a gap. Shell and control lose nothing; iopub may lose, repeat and reorder, so that whatever must arrive
# travels as a reply: the end of a stream, every answer, and lost frames when they are asked for again.

Channel: TypeAlias = Literal["shell", "control"]

# The types of the Jupyter messages that carry ours, each as its only buffer.
REQUEST_TYPE = "pico_request"
REPLY_TYPE = "pico_reply"
PUBLISHED_TYPE = "pico_published"

# Names the library that the server put into the kernel's LD_PRELOAD: the kernel's own children go without it.
PRELOADED_VARIABLE = "PICO_JUPYTER_PRELOADED"


class ErrorReport(msgspec.Struct, frozen=True):
    """A PicoError by the name of its class."""

    kind: str
    message: str
    param: str | None = None
    code: str | None = None
    model: str = ""
    retry_after: int = 0


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Shell: start a stream. Answered by Ended or Failed when it is over."""

    id: int
    request: GenerationRequest


class Models(msgspec.Struct, frozen=True, tag="models"):
    """Shell: the catalog. Answered by ModelList."""

    id: int


class Model(msgspec.Struct, frozen=True, tag="model"):
    """Shell: what does this name mean? Answered by ModelList with one entry."""

    id: int
    name: str


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Shell: load a model. Answered by Done."""

    id: int
    name: str
    keep_alive: float | None


class Unload(msgspec.Struct, frozen=True, tag="unload"):
    """Control: unload a model. Answered by Done."""

    id: int
    name: str


class Resident(msgspec.Struct, frozen=True, tag="resident"):
    """Control: which models are loaded? Answered by ResidentList."""

    id: int


class Memory(msgspec.Struct, frozen=True, tag="memory"):
    """Control: how does the memory for models stand? Answered by MemoryState."""

    id: int


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    """Control: nobody reads the answer to request `id` any more. Not answered. May overtake the request."""

    id: int


class Resend(msgspec.Struct, frozen=True, tag="resend"):
    """Control: send the frames of stream `id` after number `after` again. Answered by Resent or Lost."""

    id: int
    after: int


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """Control: frames up to these numbers have arrived, by stream. Not answered."""

    received: dict[int, int]


# Answered by one reply.
Question: TypeAlias = Models | Model | Load | Unload | Resident | Memory
Request: TypeAlias = Generate | Question | Abort | Resend | Ack


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """Reply: the stream is complete with these last frames, which were not published, and `finished`."""

    id: int
    first: int
    deltas: tuple[Delta, ...]
    finished: Finished


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Reply: the request failed, a stream after these last frames."""

    id: int
    error: ErrorReport
    first: int = 1
    deltas: tuple[Delta, ...] = ()


class ModelList(msgspec.Struct, frozen=True, tag="model_list"):
    """Reply to Models and Model."""

    id: int
    models: tuple[ModelInfo, ...]


class ResidentList(msgspec.Struct, frozen=True, tag="resident_list"):
    """Reply to Resident."""

    id: int
    models: tuple[ResidentModel, ...]


class MemoryState(msgspec.Struct, frozen=True, tag="memory_state"):
    """Reply to Memory."""

    id: int
    report: MemoryReport


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Reply to Load and Unload."""

    id: int


class Resent(msgspec.Struct, frozen=True, tag="resent"):
    """Reply to Resend: every frame from `first` on that has been published so far."""

    id: int
    first: int
    deltas: tuple[Delta, ...]


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """Reply to Resend: those frames are no longer there."""

    id: int


class Batch(msgspec.Struct, frozen=True):
    """Frames of one stream; the first has number `first`."""

    id: int
    first: int
    deltas: tuple[Delta, ...]


class Frames(msgspec.Struct, frozen=True, tag="frames"):
    """Published: new frames of one or more streams."""

    batches: tuple[Batch, ...]


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """Published each second while requests are under way: their ids with the number of the latest frame (0: none)."""

    active: dict[int, int]


class Bulletin(msgspec.Struct, frozen=True, tag="bulletin"):
    """Published: a model came or went; or the engine's figures, each second while requests are under way, and once
    after. Not numbered, because a lost one harms nobody.
    """

    news: EngineEvent


Answer: TypeAlias = (
    Ended | Failed | ModelList | ResidentList | MemoryState | Done | Resent | Lost | Frames | Heartbeat | Bulletin
)

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def _error_classes(base: type[PicoError]) -> dict[str, type[PicoError]]:
    found = {base.__name__: base}
    for sub in base.__subclasses__():
        if sub.__module__ == errors.__name__:
            found |= _error_classes(sub)
    return found


ERROR_CLASSES = _error_classes(PicoError)


def encode(message: Request | Answer) -> bytes:
    """The bytes of a message."""
    return _encoder.encode(message)


def decode_request(payload: bytes | memoryview) -> Request:
    """What the server process said. Raises msgspec.DecodeError."""
    return _requests.decode(payload)


def decode_answer(payload: bytes | memoryview) -> Answer:
    """What the model kernel said. Raises msgspec.DecodeError."""
    return _answers.decode(payload)


def channel_of(request: Request) -> Channel:
    """Control for what must not wait behind a long load, shell for the rest."""
    match request:
        case Generate() | Models() | Model() | Load():
            return "shell"
        case Unload() | Resident() | Memory() | Abort() | Resend() | Ack():
            return "control"
        case _:
            assert_never(request)


def report(error: PicoError) -> ErrorReport:
    """An error as it travels."""
    kind = type(error).__name__
    return ErrorReport(kind, error.message, error.param, error.code, error.model, error.retry_after)


def error_from(report: ErrorReport) -> PicoError:
    """The error that a report tells of; EngineFailed where this side knows no such class."""
    kind = ERROR_CLASSES.get(report.kind, EngineFailed)
    return kind(
        report.message, param=report.param, code=report.code, model=report.model, retry_after=report.retry_after
    )


def seal(payload: bytes) -> dict[str, str]:
    """The content of the Jupyter message that carries `payload`: Jupyter signs contents, but not buffers."""
    return {"sha256": hashlib.sha256(payload).hexdigest()}


def is_genuine(content: Mapping[str, object], payload: bytes | memoryview) -> bool:
    """Whether `payload` is what the signed content speaks of."""
    return content.get("sha256") == hashlib.sha256(payload).hexdigest()


def options_text(options: EngineOptions) -> str:
    """The options as text for a command line; JSON with Python's Infinity."""
    return json.dumps(msgspec.to_builtins(options))


def options_from(text: str) -> EngineOptions:
    """What options_text wrote. Raises ValueError."""
    return msgspec.convert(json.loads(text), EngineOptions)
