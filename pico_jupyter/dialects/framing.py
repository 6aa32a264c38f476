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
# JSON parsers skip a space before an object. An empty NDJSON line breaks ollama-python and LangChain.
NDJSON_KEEPALIVE = b" "

_LOWEST_LOGPROB = -9999.0

_encoder = msgspec.json.Encoder()
# A non-ASCII character and the text after it, up to an escape or the end of the JSON string. Long matches are faster.
_NON_ASCII = re.compile(r"[^\x00-\x7f][^\"\\\x00-\x1f]*")


class FrameStream(Protocol):
    """Encodes one streamed answer in a dialect. Each delta becomes zero or more frames."""

    content_type: str

    def encode(self, delta: Delta) -> bytes:
        """Return the frames of `delta`. The frames of Finished end the stream."""
        ...

    def keepalive(self, done: int, total: int) -> bytes:
        """Return bytes that keep the connection alive. All clients skip them. For `done` and `total`, see Progress."""
        ...

    def error(self, error: PicoError) -> bytes:
        """Return the frames that report `error` and end the stream."""
        ...


def encode_json(value: object) -> bytes:
    """Encode `value` as compact ASCII-only JSON.

    Some clients split streams with str.splitlines(), which also splits at U+2028 and U+0085. ASCII has neither.
    """
    encoded = _encoder.encode(value)
    if encoded.isascii():
        return encoded
    # Non-ASCII characters occur only in JSON strings, so escapes can replace them.
    return _NON_ASCII.sub(_escape, encoded.decode()).encode("ascii")


def finite_logprob(logprob: float) -> float:
    """Clamp `logprob` to the range from -9999 to 0, because JSON has no -inf."""
    return min(max(_LOWEST_LOGPROB, logprob), 0.0)


def sse_event(value: object) -> bytes:
    return b"data: " + encode_json(value) + b"\n\n"


def sse_keepalive(done: int, total: int) -> bytes:
    # Not ": ping": the client Continue ends a stream at a line that starts with ": ping".
    return b": keepalive %d/%d\n\n" % (done, total)


def ndjson_line(value: object) -> bytes:
    return encode_json(value) + b"\n"


def _escape(run: re.Match[str]) -> str:
    return json.dumps(run[0])[1:-1]
