"""Row: one sequence of tokens in a backend."""

from __future__ import annotations

from dataclasses import dataclass, field

from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.engine.backends.sampling import LogitsProcessor, penalty_window


@dataclass(slots=True, eq=False)
class Row:
    """A row of the backend.

    `tokens` are the tokens in its KV cache. `sampled` counts the sampled tokens. `is_new` is true until the first token
    is returned. A later prompt with the same first `continuation_start` tokens continues the row's conversation.
    `rope_delta` is position minus index of the tokens after media; None for models where the two are always equal.
    """

    number: int
    sampling: RowSampling
    processors: list[LogitsProcessor]
    continuation_start: int
    sampled: int = 0
    tokens: list[int] = field(default_factory=list)
    is_new: bool = True
    rope_delta: int | None = None

    @property
    def recent(self) -> list[int]:
        """The latest tokens to which penalties apply. Tokens of media are negative and left out."""
        window = penalty_window(self.sampling)
        return [token for token in self.tokens[-window:] if token >= 0] if window else []
