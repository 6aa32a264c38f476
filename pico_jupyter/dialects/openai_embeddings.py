"""Declares v1/embeddings and v1/rerank: their requests, the questions to the engine, and their answers."""

from __future__ import annotations

import base64
from array import array
from operator import mul
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pico_jupyter.dialects.framing import encode_json
from pico_jupyter.dialects.request_bodies import decode_fields, decode_object
from pico_jupyter.dialects.request_errors import wrong_type
from pico_jupyter.dialects.request_fields import ModelName, NotNegative, Positive, RequestStruct, about
from pico_jupyter.engine_reports import Embeddings
from pico_jupyter.questions import Embed

EncodingFormat: TypeAlias = Literal["float", "base64"]

_MODEL = about("A model with the capability embedding, from the list of models.")
_INPUT = about("A text, texts, the tokens of a text, or the tokens of several. Tokens are those of the model.")
_INPUT_TYPES = "a string, or an array of strings, of integers or of arrays of integers"
InputTokens: TypeAlias = Annotated[list[NotNegative], Meta(min_length=1)]
Inputs: TypeAlias = Annotated[list[str | NotNegative | InputTokens], Meta(min_length=1)]


class OpenAIEmbeddingRequest(RequestStruct, frozen=True):
    """A request for the embeddings of texts. Fields that are not listed are ignored; null counts as omitted."""

    ignored = frozenset({"user"})
    model: Annotated[ModelName, _MODEL]
    input: Annotated[str | Inputs, _INPUT]
    dimensions: Annotated[Positive | None, about("Keep only this many numbers of each vector.")] = None
    encoding_format: Annotated[
        EncodingFormat | None, about("base64: the bytes of 32-bit floats, little-endian. Omitted: float.")
    ] = None


class OpenAIEmbedding(msgspec.Struct, frozen=True, kw_only=True):
    """The vector of one text. Its length is 1, so that a dot product is the cosine."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(msgspec.Struct, frozen=True):
    """Token counts. Both are equal."""

    prompt_tokens: int
    total_tokens: int


class OpenAIEmbeddingList(msgspec.Struct, frozen=True, kw_only=True):
    """The vectors in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[OpenAIEmbedding]
    model: Annotated[str, Meta(description="The name in the request.")]
    usage: EmbeddingUsage


class RerankDocument(RequestStruct, frozen=True):
    """A document as an object."""

    text: str


class RerankRequest(RequestStruct, frozen=True):
    """A request to order documents by their similarity to a query. Long documents are cut. Fields that are not listed
    are ignored; null counts as omitted.
    """

    ignored = frozenset({"max_tokens_per_doc", "max_chunks_per_doc", "rank_fields", "user"})
    model: Annotated[ModelName, _MODEL]
    query: Annotated[str, about("The text to compare with.")]
    documents: Annotated[list[str | RerankDocument], Meta(min_length=1, description="The documents.")]
    top_n: Annotated[Positive | None, about("Return only this many documents. Omitted: all.")] = None
    return_documents: Annotated[bool | None, about("Whether to return the texts. Omitted: false.")] = None


class RankedText(msgspec.Struct, frozen=True):
    """The text of a document."""

    text: str


class RerankResult(msgspec.Struct, frozen=True):
    """A document by its index in the request. `relevance_score` is the cosine of its vector and that of the query."""

    index: int
    relevance_score: float
    document: RankedText | UnsetType = UNSET


class RerankAnswer(msgspec.Struct, frozen=True):
    """The documents, the most similar one first."""

    id: str
    model: Annotated[str, Meta(description="The name in the request.")]
    results: list[RerankResult]
    usage: EmbeddingUsage


class OpenAIEmbeddingCall(msgspec.Struct, frozen=True):
    """A question for embeddings, and the form of its answer."""

    question: Embed
    encoding: EncodingFormat


class RerankCall(msgspec.Struct, frozen=True):
    """A question for the embeddings of a query and of documents, in this order, and the form of its answer."""

    question: Embed
    texts: tuple[str, ...]
    top_n: int | None = None
    return_documents: bool = False


def parse_openai_embeddings(body: bytes) -> OpenAIEmbeddingCall:
    """Parse the body of a POST to v1/embeddings. Raises InvalidRequest, which names the wrong field."""
    fields = decode_fields(decode_object(body), OpenAIEmbeddingRequest)
    inputs, params = _read_input(fields.input)
    question = Embed(fields.model, inputs, fields.dimensions, params=params)
    return OpenAIEmbeddingCall(question, fields.encoding_format or "float")


def parse_rerank(body: bytes) -> RerankCall:
    """Parse the body of a POST to v1/rerank. Raises InvalidRequest, which names the wrong field."""
    fields = decode_fields(decode_object(body), RerankRequest)
    texts = tuple(item if isinstance(item, str) else item.text for item in fields.documents)
    params = ("query", *(f"documents[{index}]" for index in range(len(texts))))
    question = Embed(fields.model, (fields.query, *texts), truncate=True, params=params)
    return RerankCall(question, texts, fields.top_n, fields.return_documents is True)


def embedding_list(call: OpenAIEmbeddingCall, embeddings: Embeddings) -> bytes:
    """Encode the answer of v1/embeddings."""
    data = [
        OpenAIEmbedding(
            index=index,
            embedding=base64.b64encode(vector).decode() if call.encoding == "base64" else floats(vector),
        )
        for index, vector in enumerate(embeddings.vectors)
    ]
    return encode_json(OpenAIEmbeddingList(data=data, model=call.question.model, usage=_usage(embeddings)))


def rerank_answer(call: RerankCall, embeddings: Embeddings, answer_id: str) -> bytes:
    """Encode the answer of v1/rerank."""
    query, *documents = (floats(vector) for vector in embeddings.vectors)
    scores = [sum(map(mul, query, document)) for document in documents]
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    results = [
        RerankResult(index, scores[index], RankedText(call.texts[index]) if call.return_documents else UNSET)
        for index in order[: call.top_n]
    ]
    return encode_json(RerankAnswer(answer_id, call.question.model, results, _usage(embeddings)))


def floats(vector: bytes) -> list[float]:
    """The numbers of a vector."""
    return array("f", vector).tolist()


def _usage(embeddings: Embeddings) -> EmbeddingUsage:
    return EmbeddingUsage(embeddings.prompt_tokens, embeddings.prompt_tokens)


def _read_input(value: str | list[Any]) -> tuple[tuple[str | tuple[int, ...], ...], tuple[str, ...]]:
    """The inputs, and for each the name of its field in the request."""
    if isinstance(value, str):
        return (value,), ("input",)
    kinds = {type(item) for item in value}
    if len(kinds) > 1:
        raise wrong_type("input", _INPUT_TYPES, value)
    if kinds == {int}:
        return (tuple(value),), ("input",)
    items = tuple(tuple(item) if isinstance(item, list) else item for item in value)
    return items, tuple(f"input[{index}]" for index in range(len(items)))
