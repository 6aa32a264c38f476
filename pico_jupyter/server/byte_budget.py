"""Limits how many bytes the server fetches for one request."""

from __future__ import annotations

from dataclasses import dataclass, field

from pico_jupyter.errors import InvalidRequest


@dataclass(slots=True)
class ByteBudget:
    """Limits the total size of all images and videos of one request to `limit` bytes."""

    limit: int
    spent: int = field(default=0, init=False)

    def spend(self, count: int) -> None:
        """Count received bytes. Raises InvalidRequest if the total exceeds the limit."""
        self.check(count)
        self.spent += count

    def check(self, count: int) -> None:
        """Check a size that is known in advance. Raises InvalidRequest if the total would exceed the limit."""
        if self.spent + count > self.limit:
            raise InvalidRequest(f"all media of one request together exceed the limit of {self.limit} bytes")
