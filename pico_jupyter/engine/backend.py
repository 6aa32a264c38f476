"""Backend: the floor under the scheduler. Says what one loaded model can do; knows no mlx, no request and no text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RowSampling:
    """How one row draws its tokens, every value decided.

    `temperature` 0 is greedy; `top_p` 1, `top_k` 0 and `min_p` 0 are off, as are `repetition_penalty` 1 and the other
    penalties at 0. A context size counts the latest tokens, prompt included, that a penalty looks at. `top_logprobs`
    None: no log-probabilities.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    repetition_penalty: float = 1.0
    repetition_context_size: int = 20
    presence_penalty: float = 0.0
    presence_context_size: int = 20
    frequency_penalty: float = 0.0
    frequency_context_size: int = 20
    logit_bias: tuple[tuple[int, float], ...] = ()
    top_logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """A token drawn for a row.

    `logprob` and `top` (token ids with log-probabilities, falling) are natural logarithms in the model's own
    distribution, before penalties and filters; they are None and empty unless the row asked for them.
    """

    row: int
    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Drafting:
    """A loaded smaller model with the same tokens, which proposes up to `tokens` tokens for each step of a row."""

    backend: Backend
    tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Media:
    """The pictures and clips of one prompt, as the model's own processor prepared them.

    `spans` are the places (start, end) in the prompt that they take, rising. Tokens there are negative and stand for
    what is seen, so that equal prompts are equal in every respect; `tokens` are the same prompt's with the model's
    placeholders instead. `inputs` are numpy arrays, lists of them or plain values, by the names of the model's own
    parameters.
    """

    tokens: Sequence[int]
    spans: Sequence[tuple[int, int]]
    inputs: Mapping[str, Any]


class Backend(Protocol):
    """One model: its weights, its KV caches and its maths. Called by the engine thread only.

    A row goes through insert, prefill (until it returns 0), any number of steps, remove. Rows are numbered by the
    caller. Computation may run ahead of what step returns, so a row may give its first token a step later. What rows
    leave behind in the prefix cache is counted there and not here.
    """

    @property
    def weights_nbytes(self) -> int:
        """Bytes of the weights once loaded."""
        ...

    @property
    def cache_nbytes(self) -> int:
        """Bytes of the KV caches of all rows."""
        ...

    def load_step(self) -> int:
        """Bring the next share of the weights into memory. Returns the bytes still to come; 0: ready."""
        ...

    def estimate_cache(self, tokens: int) -> int:
        """Bytes that the KV cache of one row of so many tokens takes."""
        ...

    def match(self, prompt: Sequence[int]) -> int:
        """How many leading tokens of a prompt insert() would find in the prefix cache just now."""
        ...

    def insert(
        self,
        rows: Mapping[int, RowSampling],
        prompt: Sequence[int],
        *,
        drawn: int = 0,
        boundaries: Sequence[int] = (),
        drafting: Drafting | None = None,
        media: Media | None = None,
    ) -> int:
        """Take in rows that share one prompt of at least one token. Returns how many of its tokens were cached.

        Computes nothing yet. The last `drawn` tokens of the prompt were drawn by this row before (it goes on after it
        was removed): its next token is the one that it would have drawn then. `boundaries` are lengths, rising, at
        which other prompts will probably leave this one: the last is where the conversation's next turn will.
        `media` belongs to the prompt's beginning; the model must be one that sees.
        """
        ...

    def keep(self, row: int, length: int) -> None:
        """Put the first `length` tokens of a row's prompt into the prefix cache as soon as they are prefilled."""
        ...

    def prefill(self, rows: Sequence[int], limit: int) -> dict[int, int]:
        """Compute at most `limit` more tokens of the prompt of the first row.

        Prompts of the others that end within the same limit may be taken along. Returns the tokens still to come for
        each of the given rows that was worked on; at 0 all rows of that prompt decode from the next step on.
        """
        ...

    def step(self) -> list[Draw]:
        """Advance every decoding row. Returns the tokens drawn, each row's in order: one or none, more if drafted."""
        ...

    def remove(self, rows: Collection[int], *, keep: bool) -> None:
        """Forget rows, in any phase; with `keep` their KV caches go to the prefix cache. Unknown rows are ignored."""
        ...

    def close(self) -> None:
        """Give all memory back, the model's part of the prefix cache included. Nothing may be called afterwards."""
        ...
