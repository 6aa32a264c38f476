"""Encodes JSON for HTTP: ASCII only, on one line, in SSE events or NDJSON lines."""

from __future__ import annotations

import json
import re
from typing import Protocol

import msgspec

from pico_jupyter.errors import PicoError
from pico_jupyter.types import Delta

JSON_TYPE = "application/json"
SSE_TYPE = "text/event-stream"
NDJSON_TYPE = "application/x-ndjson"

SSE_END = "[DONE]"
SSE_DONE = b"data: %b\n\n" % SSE_END.encode()
# A space before a JSON object is legal. An empty NDJSON line breaks ollama-python and LangChain.
NDJSON_KEEPALIVE = b" "

_LOWEST_LOGPROB = -9999.0

_encoder = msgspec.json.Encoder()
# From a character beyond ASCII to the end of the JSON string or to an escape: long runs need fewer calls.
_NON_ASCII = re.compile(r"[^\x00-\x7f][^\"\\\x00-\x1f]*")


class FrameStream(Protocol):
    """One streamed answer in a dialect. Each delta becomes zero or more frames."""

    content_type: str

    def encode(self, delta: Delta) -> bytes:
        """The frames of `delta`. After Finished the stream is complete."""
        ...

    def keepalive(self, done: int, total: int) -> bytes:
        """Bytes that keep the connection alive and that all clients skip. `done` of `total` units are finished."""
        ...

    def error(self, error: PicoError) -> bytes:
        """The frames that end a stream after an error."""
        ...


def encode_json(value: object) -> bytes:
    """`value` as compact ASCII-only JSON.

    Clients split streams with str.splitlines(), which also breaks at U+2028 and U+0085; escapes are safe from that.
    """
    encoded = _encoder.encode(value)
    if encoded.isascii():
        return encoded
    # Only the content of JSON strings is beyond ASCII, so it can be escaped in place.
    return _NON_ASCII.sub(_escape, encoded.decode()).encode("ascii")


def finite_logprob(logprob: float) -> float:
    """`logprob` as a finite number that is not positive: JSON has no -inf."""
    return min(max(_LOWEST_LOGPROB, logprob), 0.0)


def sse_event(value: object) -> bytes:
    return b"data: " + encode_json(value) + b"\n\n"


def sse_keepalive(done: int, total: int) -> bytes:
    # Not ": ping": Continue ends the stream at a line that starts with it.
    return b": keepalive %d/%d\n\n" % (done, total)


def ndjson_line(value: object) -> bytes:
    return encode_json(value) + b"\n"


def _escape(run: re.Match[str]) -> str:
    return json.dumps(run[0])[1:-1]
