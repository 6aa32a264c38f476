"""Backend: the interface between the scheduler and one loaded model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RowSampling:
    """How the tokens of one row are sampled.

    `temperature` 0 is greedy. Values without effect: `top_p` 1, `top_k` 0, `min_p` 0, `repetition_penalty` 1,
    `presence_penalty` 0 and `frequency_penalty` 0. A context size is the number of latest tokens, prompt included, that
    its penalty counts. `logit_bias` holds (token, bias) pairs. `top_logprobs` is the number of likeliest tokens to
    report beside the log-probability of the sampled one; None: no log-probabilities.
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
class SampledToken:
    """A token sampled for a row.

    `logprob` is its natural log-probability in the model's own distribution, before penalties and filters; None unless
    the row requests it. `top` holds the likeliest tokens with their log-probabilities, in descending order.
    """

    row: int
    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class DraftModel:
    """The backend of a smaller model with the same tokens, which proposes up to `tokens` tokens a step."""

    backend: Backend
    tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Media:
    """The images and videos of one prompt, as the model's own processor prepared them.

    `spans` are their (start, end) positions in the prompt, ascending. The prompt's tokens in a span are negative and
    derived from the content, so that equal prompts have equal tokens; `tokens` is the same prompt with the model's own
    placeholder tokens. `inputs` are numpy arrays, lists of arrays or plain values, by the model's parameter names.
    """

    tokens: Sequence[int]
    spans: Sequence[tuple[int, int]]
    inputs: Mapping[str, Any]


class Backend(Protocol):
    """One model: its weights, the KV caches of its rows, and its computation. Called by the engine thread only.

    A row is inserted, prefilled until prefill() returns 0, stepped, and removed. The caller numbers the rows.
    Computation may run ahead of step(), so a row may return its first token one step late. Any method may raise any
    exception; the scheduler then removes the rows concerned.
    """

    @property
    def weights_nbytes(self) -> int:
        """Bytes of all weights, loaded or not."""

    @property
    def cache_nbytes(self) -> int:
        """Bytes of the KV caches of all rows, without the prefix cache."""

    def load_step(self) -> int:
        """Load the next share of the weights. Returns the bytes that remain; 0: the model is ready."""

    def estimate_cache(self, tokens: int) -> int:
        """The bytes of the KV cache of one row with `tokens` tokens."""

    def match(self, prompt: Sequence[int]) -> int:
        """The number of leading tokens of a prompt that insert() would find in the prefix cache now."""

    def insert(
        self,
        rows: Mapping[int, RowSampling],
        prompt: Sequence[int],
        *,
        generated: int = 0,
        boundaries: Sequence[int] = (),
        draft: DraftModel | None = None,
        media: Media | None = None,
    ) -> int:
        """Add rows that share a prompt of at least one token. Computes nothing yet.

        Returns the number of the prompt's tokens that were in the prefix cache. The last `generated` tokens of the
        prompt were sampled by the row before it was removed; the row continues with the token after them.
        `boundaries` are prefix lengths in ascending order: other prompts probably start with the same tokens up to one
        of them, and the next turn of the conversation up to the last one. `media` needs a model with vision.
        """

    def keep(self, row: int, length: int) -> None:
        """Add the first `length` tokens of a row's prompt to the prefix cache as soon as they are prefilled."""

    def prefill(self, rows: Sequence[int], limit: int) -> dict[int, int]:
        """Compute at most `limit` more tokens of the first row's prompt.

        Prompts of other rows that end within the same limit may be computed along with it. Returns the tokens that
        remain, for each of `rows` that was computed. If none remain, all rows of that prompt decode in the next step.
        """

    def step(self) -> list[SampledToken]:
        """Advance every decoding row. Returns the tokens of each row in order: at most one, or more with drafts."""

    def remove(self, rows: Collection[int], *, keep: bool) -> None:
        """Remove rows in any phase; with `keep` their KV caches go to the prefix cache. Unknown rows are ignored."""

    def close(self) -> None:
        """Free all memory, the model's entries in the prefix cache included. No other call may follow."""
