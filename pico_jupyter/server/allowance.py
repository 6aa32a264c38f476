"""How many bytes one request may still have fetched."""

from __future__ import annotations

from dataclasses import dataclass, field

from pico_jupyter.errors import InvalidRequest


@dataclass(slots=True)
class Allowance:
    """Shared by all that is fetched for one request: `limit` bytes in all."""

    limit: int
    taken: int = field(default=0, init=False)

    def take(self, count: int) -> None:
        """So many bytes have come. Raises InvalidRequest."""
        self.check(count)
        self.taken += count

    def check(self, count: int) -> None:
        """So many bytes are announced. Raises InvalidRequest when they would be too many."""
        if self.taken + count > self.limit:
            raise InvalidRequest(f"one request may have {self.limit} bytes fetched, and this is beyond it")
