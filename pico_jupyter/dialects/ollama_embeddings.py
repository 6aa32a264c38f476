"""Declares api/embed and api/embeddings: their requests, the questions to the engine, and their answers."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from pico_jupyter.dialects.durations import read_keep_alive
from pico_jupyter.dialects.framing import ndjson_line
from pico_jupyter.dialects.openai_embeddings import floats
from pico_jupyter.dialects.request_bodies import decode_fields, decode_object
from pico_jupyter.dialects.request_fields import Duration, ModelName, Positive, RequestStruct, about
from pico_jupyter.engine_reports import Embeddings
from pico_jupyter.questions import Embed, LoadModel

_MODEL = about("A model with the capability embedding, from the list of models.")
_KEEP_ALIVE = about("How long the model stays in memory after the request: seconds, or a duration. Negative: forever.")
KeepAlive: TypeAlias = Annotated[int | float | Duration | None, _KEEP_ALIVE]


class OllamaEmbedRequest(RequestStruct, frozen=True):
    """A request for the embeddings of texts. Without texts it loads the model. Fields that are not listed are ignored;
    null counts as omitted.
    """

    ignored = frozenset({"options"})
    model: Annotated[ModelName, _MODEL]
    input: Annotated[str | list[str] | None, about("A text or texts.")] = None
    truncate: Annotated[bool | None, about("false: refuse texts that exceed the context, not cut them.")] = None
    dimensions: Annotated[Positive | None, about("Keep only this many numbers of each vector.")] = None
    keep_alive: KeepAlive = None


class OllamaEmbeddingsRequest(RequestStruct, frozen=True):
    """A request for the embedding of one text, as older clients send it. Without a text it loads the model."""

    ignored = frozenset({"options"})
    model: Annotated[ModelName, _MODEL]
    prompt: Annotated[str | None, about("The text. It is cut if it exceeds the context.")] = None
    keep_alive: KeepAlive = None


class OllamaEmbedAnswer(msgspec.Struct, frozen=True):
    """The vectors in the order of the texts, each of length 1. Durations are in nanoseconds."""

    model: Annotated[str, Meta(description="The name in the request.")]
    embeddings: list[list[float]]
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: Annotated[int, Meta(description="The tokens of all texts.")] = 0


class OllamaEmbeddingAnswer(msgspec.Struct, frozen=True):
    """The vector of the text."""

    embedding: list[float]


def parse_ollama_embed(body: bytes) -> Embed | LoadModel:
    """Parse the body of a POST to api/embed. Raises InvalidRequest, which names the wrong field."""
    fields = decode_fields(decode_object(body), OllamaEmbedRequest)
    texts = (fields.input,) if isinstance(fields.input, str) else tuple(fields.input or ())
    return _question(fields, [text for text in texts if text or len(texts) > 1], truncate=fields.truncate is not False)


def parse_ollama_embeddings(body: bytes) -> Embed | LoadModel:
    """Parse the body of a POST to api/embeddings. Raises InvalidRequest, which names the wrong field."""
    fields = decode_fields(decode_object(body), OllamaEmbeddingsRequest)
    return _question(fields, [fields.prompt] if fields.prompt else [])


def embed_answer(model: str, embeddings: Embeddings | None) -> bytes:
    """Encode the answer of api/embed. `embeddings` is None if the request only loaded the model."""
    if embeddings is None:
        return ndjson_line(OllamaEmbedAnswer(model, []))
    vectors = [floats(vector) for vector in embeddings.vectors]
    timings = embeddings.timings
    return ndjson_line(OllamaEmbedAnswer(model, vectors, timings.total_ns, timings.load_ns, embeddings.prompt_tokens))


def embedding_answer(model: str, embeddings: Embeddings | None) -> bytes:
    """Encode the answer of api/embeddings. `embeddings` is None if the request only loaded the model."""
    return ndjson_line(OllamaEmbeddingAnswer([] if embeddings is None else floats(embeddings.vectors[0])))


def _question(fields: Any, texts: list[str], *, truncate: bool = True) -> Embed | LoadModel:
    keep_alive = read_keep_alive(fields.keep_alive)
    if not texts:
        return LoadModel(fields.model, keep_alive)
    dimensions = getattr(fields, "dimensions", None)
    return Embed(fields.model, tuple(texts), dimensions, truncate, keep_alive)
