"""How JSON goes onto the wire: ASCII only, one line, in SSE events or NDJSON lines. Knows no field of any dialect."""

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
# A space is legal in front of a JSON object; an empty NDJSON line breaks ollama-python and LangChain.
NDJSON_KEEPALIVE = b" "

_LOWEST_LOGPROB = -9999.0

_encoder = msgspec.json.Encoder()
# From a character beyond ASCII to where a JSON string ends or has an escape: one long run, and not one per word.
_NON_ASCII = re.compile(r"[^\x00-\x7f][^\"\\\x00-\x1f]*")


class FrameStream(Protocol):
    """One streamed answer in a dialect: every delta becomes the bytes of no, one or several frames."""

    content_type: str

    def encode(self, delta: Delta) -> bytes:
        """The frames of `delta`. After Finished the stream is complete."""
        ...

    def keepalive(self, done: int, total: int) -> bytes:
        """A sign of life that every client skips."""
        ...

    def error(self, error: PicoError) -> bytes:
        """The frames that end a stream which failed after its first byte."""
        ...


def encode_json(value: object) -> bytes:
    """`value` as compact ASCII-only JSON.

    Clients split streams with str.splitlines(), which also breaks at U+2028 and U+0085; escapes are safe from that.
    """
    encoded = _encoder.encode(value)
    if encoded.isascii():
        return encoded
    # Outside of ASCII there is nothing but the content of JSON strings, so escaping it in place is sound.
    return _NON_ASCII.sub(_escape, encoded.decode()).encode("ascii")


def finite_logprob(logprob: float) -> float:
    """JSON has no -inf, and clients rely on a number that is not positive."""
    return min(max(_LOWEST_LOGPROB, logprob), 0.0)


def sse_event(value: object) -> bytes:
    return b"data: " + encode_json(value) + b"\n\n"


def sse_keepalive(done: int, total: int) -> bytes:
    # Not ": ping": Continue takes a line that starts so for the end of the stream.
    return b": keepalive %d/%d\n\n" % (done, total)


def ndjson_line(value: object) -> bytes:
    return encode_json(value) + b"\n"


def _escape(run: re.Match[str]) -> str:
    return json.dumps(run[0])[1:-1]
