"""Limits how many bytes the server fetches for one request."""

from __future__ import annotations

from dataclasses import dataclass, field

from pico_jupyter.errors import InvalidRequest


@dataclass(slots=True)
class ByteBudget:
    """Shared by all images and videos of one request, which together may have `limit` bytes."""

    limit: int
    spent: int = field(default=0, init=False)

    def spend(self, count: int) -> None:
        """Count received bytes. Raises InvalidRequest if they exceed the limit."""
        self.check(count)
        self.spent += count

    def check(self, count: int) -> None:
        """Check an announced size without counting it. Raises InvalidRequest if it exceeds the limit."""
        if self.spent + count > self.limit:
            raise InvalidRequest(f"all media of one request together exceed the limit of {self.limit} bytes")
