"""Backend and EmbeddingBackend: the interfaces between the scheduler and one loaded model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class TokenConstraint(Protocol):
    """Limits the tokens of one row (engine.structure.constraint.RowConstraint)."""

    @property
    def error(self) -> str:
        """Why the answer had to end before it was complete; "" without an error."""

    def restart(self, tokens: Sequence[int]) -> None:
        """Restore the state after the `tokens` that the row has sampled."""


@dataclass(frozen=True, slots=True)
class RowSampling:
    """How the tokens of one row are sampled.

    `temperature` 0 always selects the likeliest token. Values without effect: `top_p` 1, `top_k` 0, `min_p` 0,
    `repetition_penalty` 1, `presence_penalty` 0 and `frequency_penalty` 0. Each penalty considers the latest tokens of
    prompt and answer; its context size is their number. `logit_bias` holds (token, bias) pairs. `top_logprobs` is the
    number of likeliest tokens to report with each sampled token; None: report no log-probabilities. `constraint` limits
    the tokens of the row; it belongs to this row only.
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
    constraint: TokenConstraint | None = None


@dataclass(frozen=True, slots=True)
class SampledToken:
    """A token sampled for a row.

    `logprob` is the natural logarithm of the token's probability before penalties and filters. It is None if the row
    does not request it. `top` holds (token, log-probability) pairs of the likeliest tokens, in descending order.
    `prompt` has the tokens of the prompt after its first, in the first token of a row inserted with `scores_prompt`.
    """

    row: int
    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    prompt: tuple[SampledToken, ...] = ()


@dataclass(frozen=True, slots=True)
class DraftModel:
    """The backend of a smaller model with the same vocabulary. It proposes up to `tokens` tokens in each step."""

    backend: Backend
    tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Media:
    """The images and videos of one prompt, as the model's processor prepared them.

    `spans` are the (start, end) positions of images and videos in the prompt, in ascending order. In the spans, the
    prompt passed to insert() has negative hashes of the content, so that the prefix cache can compare images. `tokens`
    is the same prompt with the placeholder tokens of the model in the spans. `inputs` are numpy arrays, lists of arrays
    or plain values, keyed by the parameter names of the model.
    """

    tokens: Sequence[int]
    spans: Sequence[tuple[int, int]]
    inputs: Mapping[str, Any]


class LoadedModel(Protocol):
    """The memory of one model. Only the engine thread calls it."""

    @property
    def weights_nbytes(self) -> int:
        """Bytes of all weights, including those that are not loaded yet."""

    @property
    def cache_nbytes(self) -> int:
        """Bytes of the KV caches of all rows, without the prefix cache."""

    def load_step(self) -> int:
        """Load the next part of the weights. Returns the remaining bytes. At 0 the model is ready."""

    def estimate_cache(self, tokens: int) -> int:
        """The bytes that one row or one batch of texts with `tokens` tokens needs beside the weights."""

    def close(self) -> None:
        """Free all memory, including the model's entries in the prefix cache. No method may be called afterwards."""


class EmbeddingBackend(LoadedModel, Protocol):
    """A model that turns texts into vectors. Any method may raise any exception."""

    def embed(self, texts: Sequence[Sequence[int]], limit: int) -> Iterator[Sequence[bytes] | None]:
        """Compute the embeddings of tokenized texts, which are padded to the longest, in one batch.

        Each step of the iterator computes about as much as a text of `limit` tokens needs. The last item is the vectors
        in the order of the texts: normalized, in 32-bit floats. The items before are None.
        """


class Backend(LoadedModel, Protocol):
    """A model that generates text: its weights, the KV caches of its rows, and its computation.

    The calls for a row are insert(), prefill() until no tokens remain, step() any number of times, and remove(). The
    caller numbers the rows. A backend may compute the next step in advance, so the first token of a row may be one step
    late. Any method may raise any exception. The scheduler then removes the rows of that call.
    """

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
        scores_prompt: bool = False,
    ) -> int:
        """Add rows that share a prompt of at least one token. Computes nothing yet.

        Returns the number of the prompt's tokens that were in the prefix cache. The last `generated` tokens of the
        prompt are an answer that the row began before it was removed; the row continues this answer. `boundaries` are
        ascending lengths in tokens at which later prompts will probably diverge from this one. The next turn of the
        conversation diverges at the last boundary. `media` requires a model with vision. `scores_prompt`: compute the
        log-probabilities of the prompt's tokens, without the prefix cache and without `media`.
        """

    def keep(self, row: int, length: int) -> None:
        """Add the first `length` tokens of a row's prompt to the prefix cache as soon as they are prefilled."""

    def prefill(self, rows: Sequence[int], limit: int) -> dict[int, int]:
        """Compute at most `limit` more tokens of the first row's prompt.

        The backend may also compute prompts of the other rows if they end within the limit. Returns the number of
        remaining tokens for each row that it computed. At 0, all rows of that prompt decode in the next step.
        """

    def step(self) -> list[SampledToken]:
        """Decode every row that is prefilled. Returns at most one token of each row, or several with a draft model."""

    def remove(self, rows: Collection[int], *, keep: bool) -> None:
        """Remove rows in any phase. With `keep`, add their KV caches to the prefix cache. Ignores unknown rows."""
