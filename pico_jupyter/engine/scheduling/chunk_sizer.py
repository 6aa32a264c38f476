"""ChunkSizer: limits the tokens of one prefill call, so that decoding rows wait only briefly."""

from __future__ import annotations

from dataclasses import dataclass

# Chunks are whole multiples of this many tokens.
MIN_CHUNK = 64
_FIRST_CHUNK = 256
_MAX_CHUNK_WHILE_DECODING = 512
# The time that a chunk should take: short while decoding rows wait for it, longer while no row decodes.
_SECONDS_WHILE_DECODING = 0.1
_SECONDS_WITHOUT_DECODING = 0.15
# With more prompts than decoding rows, this time is multiplied by their ratio, but at most by this factor.
_MAX_TIME_FACTOR = 2.5


@dataclass(slots=True)
class ChunkSizer:
    """Sizes the chunks of one model by the speed of earlier chunks. `max_chunk` is the configured limit in tokens."""

    max_chunk: int
    _seconds_per_token: float | None = None

    def record(self, tokens: int, seconds: float) -> None:
        """Update the speed after a chunk. Small chunks are ignored, because most of their time is overhead."""
        if tokens < min(MIN_CHUNK, self.max_chunk):
            return
        latest = seconds / tokens
        previous = latest if self._seconds_per_token is None else self._seconds_per_token
        self._seconds_per_token = (previous + latest) / 2

    def next_chunk(self, *, decoding: int, prefilling: int) -> int:
        """The size of the next chunk in tokens. `decoding` counts the decoding rows, `prefilling` the prompts."""
        limit = min(_MAX_CHUNK_WHILE_DECODING, self.max_chunk) if decoding else self.max_chunk
        if self._seconds_per_token is None:
            return min(_FIRST_CHUNK, limit)
        seconds = _SECONDS_WHILE_DECODING if decoding else _SECONDS_WITHOUT_DECODING
        seconds *= min(_MAX_TIME_FACTOR, max(1.0, prefilling / max(1, decoding)))
        if seconds >= limit * self._seconds_per_token:
            return limit
        tokens = int(seconds / self._seconds_per_token)
        return min(limit, max(MIN_CHUNK, tokens // MIN_CHUNK * MIN_CHUNK))
