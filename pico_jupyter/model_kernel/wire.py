"""The messages between the Jupyter server and the model kernel, and their bytes. Knows no socket and no engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Literal, TypeAlias, assert_never, cast, get_args

import msgspec

from pico_jupyter import errors
from pico_jupyter.errors import EngineFailed, PicoError
from pico_jupyter.questions import A, AnyQuestion, FindModel, ListModels, LoadModel, Question
from pico_jupyter.types import (
    Delta,
    EngineEvent,
    EngineOptions,
    Finished,
    GenerationRequest,
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


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Shell or control: a question with one answer. Answered by Answered or Failed."""

    id: int
    question: AnyQuestion


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


Request: TypeAlias = Generate | Ask | Abort | Resend | Ack


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


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """Reply to Ask: the bytes of the answer, see answer_to."""

    id: int
    answer: bytes


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


Answer: TypeAlias = Ended | Failed | Answered | Resent | Lost | Frames | Heartbeat | Bulletin

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
# The type of a question's answer is the argument of its base class.
_answers_to = {kind: msgspec.msgpack.Decoder(get_args(kind.__orig_bases__[0])[0]) for kind in get_args(AnyQuestion)}
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


def encode_answer(answer: object) -> bytes:
    """The bytes of a question's answer."""
    return _encoder.encode(answer)


def answer_to(question: Question[A], answer: bytes) -> A:
    """What encode_answer wrote for `question`. Raises msgspec.DecodeError."""
    return cast(A, _answers_to[type(question)].decode(answer))


def channel_of(request: Request) -> Channel:
    """Control for what must not wait behind a long load, shell for the rest."""
    match request:
        case Generate() | Ask(question=ListModels() | FindModel() | LoadModel()):
            return "shell"
        case Ask() | Abort() | Resend() | Ack():
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
