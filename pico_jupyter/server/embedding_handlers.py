"""Handles the endpoints for embeddings of both dialects, and v1/rerank."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pico_jupyter.dialects import ollama_answer, ollama_embeddings, openai_answer, openai_embeddings
from pico_jupyter.engine_reports import Embeddings
from pico_jupyter.questions import Embed, LoadModel
from pico_jupyter.server.generation import GenerationHandler

# Encoding this many vectors on the event loop would delay other requests noticeably.
MANY_VECTORS = 64


class EmbeddingHandler(GenerationHandler):
    """Base of the handlers that answer with embeddings. A client that disconnects aborts its request."""

    async def embed(self, question: Embed) -> Embeddings:
        """Ask the engine and count the tokens."""
        embeddings = await self.context.engine.ask(question)
        self.meter.count_embeddings(embeddings)
        return embeddings

    async def respond_with(self, count: int, encode: Callable[[], bytes]) -> None:
        """Send the body that `encode` returns. Many vectors are encoded on a thread."""
        self.respond(await asyncio.to_thread(encode) if count > MANY_VECTORS else encode())


class OpenAIEmbeddingsHandler(EmbeddingHandler):
    """POST v1/embeddings."""

    dialect = openai_answer
    dialect_name = "openai"
    endpoint = "v1/embeddings"

    async def answer(self) -> None:
        """Answer with the vectors of texts."""
        call = await self.parse(openai_embeddings.parse_openai_embeddings)
        found = await self.embed(call.question)
        await self.respond_with(len(found.vectors), lambda: openai_embeddings.embedding_list(call, found))


class RerankHandler(EmbeddingHandler):
    """POST v1/rerank, which Cohere, Jina and vLLM have."""

    dialect = openai_answer
    dialect_name = "openai"
    endpoint = "v1/rerank"

    async def answer(self) -> None:
        """Answer with the documents in the order of their similarity to the query."""
        call = await self.parse(openai_embeddings.parse_rerank)
        found, answer_id = await self.embed(call.question), f"rerank-{self.request_id}"
        await self.respond_with(len(found.vectors), lambda: openai_embeddings.rerank_answer(call, found, answer_id))


class OllamaEmbeddingHandler(EmbeddingHandler):
    """Base of the handlers of api/embed and api/embeddings, which also load models."""

    dialect = ollama_answer
    dialect_name = "ollama"
    parser: Callable[..., Embed | LoadModel]
    encoder: Callable[..., bytes]

    async def answer(self) -> None:
        """Answer with the vectors of texts, or load the model."""
        question = await self.parse(self.parser)
        if isinstance(question, LoadModel):
            await self.context.engine.ask(question)
            self.respond(self.encoder(question.name, None))
            self.meter.end("load")
            return
        found = await self.embed(question)
        await self.respond_with(len(found.vectors), lambda: self.encoder(question.model, found))


class OllamaEmbedHandler(OllamaEmbeddingHandler):
    """POST api/embed."""

    endpoint = "api/embed"
    parser = staticmethod(ollama_embeddings.parse_ollama_embed)
    encoder = staticmethod(ollama_embeddings.embed_answer)


class OllamaEmbeddingsHandler(OllamaEmbeddingHandler):
    """POST api/embeddings, the endpoint that api/embed replaced."""

    endpoint = "api/embeddings"
    parser = staticmethod(ollama_embeddings.parse_ollama_embeddings)
    encoder = staticmethod(ollama_embeddings.embedding_answer)
