"""Lists the endpoints for embeddings for the OpenAPI document."""

from __future__ import annotations

import msgspec

from pico_jupyter.dialects import ollama_embeddings, openai_embeddings
from pico_jupyter.dialects.openapi_operation import GENERATE_ERRORS, Dialect, Operation


def _embedding(path: str, summary: str, request: type[msgspec.Struct], answer: type[msgspec.Struct]) -> Operation:
    dialect: Dialect = "OpenAI" if path.startswith("v1/") else "Ollama"
    return Operation("post", path, dialect, summary, (request,), answer, errors=GENERATE_ERRORS)


EMBEDDING_OPERATIONS: tuple[Operation, ...] = (
    _embedding(
        "v1/embeddings", "Embed texts.", openai_embeddings.OpenAIEmbeddingRequest, openai_embeddings.OpenAIEmbeddingList
    ),
    _embedding("v1/rerank", "Order documents.", openai_embeddings.RerankRequest, openai_embeddings.RerankAnswer),
    _embedding("api/embed", "Embed texts.", ollama_embeddings.OllamaEmbedRequest, ollama_embeddings.OllamaEmbedAnswer),
    _embedding(
        "api/embeddings",
        "Embed one text.",
        ollama_embeddings.OllamaEmbeddingsRequest,
        ollama_embeddings.OllamaEmbeddingAnswer,
    ),
)
