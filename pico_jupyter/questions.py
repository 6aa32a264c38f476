"""Defines the questions that an engine answers with one value. The link sends them unchanged."""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

import msgspec

from pico_jupyter.engine_reports import Embeddings, EngineStatistics, MemoryReport, ResidentModel, SkippedFolder
from pico_jupyter.types import GenerationRequest, ModelInfo

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)


class Question(msgspec.Struct, Generic[A_co], frozen=True):
    """Base of all questions. The answer has the type A_co. A question that fails raises a PicoError."""


class ListModels(Question[tuple[ModelInfo, ...]], frozen=True, tag="list_models"):
    """List the models of the catalog."""


class ListSkipped(Question[tuple[SkippedFolder, ...]], frozen=True, tag="list_skipped"):
    """List the folders with files of a model that are not in the catalog."""


class FindModel(Question[ModelInfo], frozen=True, tag="find_model"):
    """Find the model that `name` refers to, such as "org/name:latest". Raises ModelNotFound or InvalidRequest."""

    name: str


class ListResident(Question[tuple[ResidentModel, ...]], frozen=True, tag="list_resident"):
    """List the loaded models, latest expiry first. Does not start the model kernel."""


class DescribeMemory(Question[MemoryReport], frozen=True, tag="describe_memory"):
    """Report the memory budget, its use, the memory that each model needs, and the model that is being loaded."""


class LoadModel(Question[None], frozen=True, tag="load_model"):
    """Load a model now and keep it for `keep_alive` seconds (None: the default; inf: forever)."""

    name: str
    keep_alive: float | None = None


class UnloadModel(Question[None], frozen=True, tag="unload_model"):
    """Unload a model once its running requests have finished. Raises ModelNotFound. No effect if it is not loaded."""

    name: str


class PromptTokens(msgspec.Struct, frozen=True):
    """The prompt of a request as the model reads it. Tokens of images and videos are negative.

    token_texts: the text of each token, if the question asks for it. context_length: tokens that the model's context
    holds, prompt and answer together.
    """

    text: str
    tokens: tuple[int, ...]
    context_length: int
    token_texts: tuple[str, ...] = ()


class TokenizePrompt(Question[PromptTokens], frozen=True, tag="tokenize_prompt"):
    """Render and tokenize the prompt of `request`, and generate nothing. Raises InvalidRequest and ModelNotFound."""

    request: GenerationRequest
    token_texts: bool = False


class DetokenizePrompt(Question[str], frozen=True, tag="detokenize_prompt"):
    """Return the text of tokens, special ones included. Raises InvalidRequest and ModelNotFound."""

    model: str
    tokens: tuple[int, ...]


class ReadStatistics(Question[EngineStatistics], frozen=True, tag="read_statistics"):
    """Read the engine's statistics. Does not start the model kernel."""


class Embed(Question[Embeddings], frozen=True, tag="embed"):
    """Compute the embeddings of `inputs`. Cancelling the wait for the answer aborts the work.

    inputs: texts, or token ids of the model. dimensions: keep only the first numbers of each vector; None: all.
    truncate: cut inputs that exceed the context, instead of refusing them. keep_alive: as in LoadModel.
    params: for each input, the request field that holds it, for error messages; (): input[0], input[1], …
    """

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    truncate: bool = False
    keep_alive: float | None = None
    params: tuple[str, ...] = ()


AnyQuestion: TypeAlias = (
    Embed
    | ListModels
    | ListSkipped
    | FindModel
    | ListResident
    | DescribeMemory
    | LoadModel
    | UnloadModel
    | TokenizePrompt
    | DetokenizePrompt
    | ReadStatistics
)
