"""Maps paths to handlers. Below api/, only exact paths are mapped, because Jupyter's own API is there too."""

from __future__ import annotations

from typing import Any, TypeAlias

from jupyter_server.utils import url_path_join

from pico_jupyter.errors import Forbidden, NotFound, NotSupported, PicoError
from pico_jupyter.server import ollama_handlers as ollama
from pico_jupyter.server import openai_handlers as openai
from pico_jupyter.server import openapi_handler as openapi
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.handlers import DialectHandler

Rule: TypeAlias = tuple[str, type[DialectHandler], dict[str, Any]]


def _refusal(kind: type[PicoError], message: str, *methods: str) -> dict[str, Any]:
    return {"methods": methods, "kind": kind, "message": message}


# Ollama clients send HEAD to the root of their base URL. Jupyter answers it at /, and this extension at /pico/.
# The paths below /pico/ also remain usable if another extension handles v1/.
MOUNTS = ("/", "/pico/")

ENDPOINTS: tuple[Rule, ...] = (
    ("v1/chat/completions", openai.OpenAIChatHandler, {"path": "v1/chat/completions"}),
    ("v1/chat", openai.OpenAIChatHandler, {"path": "v1/chat"}),
    ("v1/models/(.+?)", openai.OpenAIModelsHandler, {}),
    ("v1/models", openai.OpenAIModelsHandler, {}),
    ("v1/memory", openai.OpenAIMemoryHandler, {}),
    ("v1", openai.OpenAIStatusHandler, {}),
    ("api/chat", ollama.OllamaChatHandler, {}),
    ("api/generate", ollama.OllamaGenerateHandler, {}),
    ("api/tags", ollama.OllamaTagsHandler, {}),
    ("api/ps", ollama.OllamaProcessesHandler, {}),
    ("api/version", ollama.OllamaVersionHandler, {}),
    ("api/show", ollama.OllamaShowHandler, {}),
    ("api/pull", ollama.OllamaPullHandler, {}),
    (
        "api/delete",
        ollama.OllamaRefusingHandler,
        _refusal(Forbidden, "deleting models is disabled on this server", "DELETE"),
    ),
    ("api/(?:copy|create|push)", ollama.OllamaRefusingHandler, _refusal(NotSupported, "not supported", "POST")),
    ("api/blobs/.+?", ollama.OllamaRefusingHandler, _refusal(NotSupported, "not supported", "POST", "HEAD")),
    (
        "api/(?:embed|embeddings)",
        ollama.OllamaRefusingHandler,
        _refusal(NotFound, "embeddings are not served here", "POST"),
    ),
)


def rules(context: ServerContext) -> list[Rule]:
    """The rules of all endpoints below each of MOUNTS, relative to the server's base URL."""
    shared = {"context": context}
    endpoints = [
        (f"{mount}{path}/?", handler, {**shared, **arguments})
        for mount in MOUNTS
        for path, handler, arguments in ENDPOINTS
    ]
    own = [
        ("/pico/?", ollama.OllamaRootHandler, shared),
        ("/pico/openapi.json/?", openapi.OpenAPIHandler, shared),
    ]
    return [*endpoints, *own]


def fallback_rules(base_url: str, context: ServerContext) -> list[Rule]:
    """The rules for unknown paths. Their patterns begin with the server's base URL.

    Add these rules after those of other extensions.
    """
    shared = {"context": context}
    return [
        (url_path_join(base_url, "v1/.*"), openai.OpenAIUnknownPathHandler, shared),
        (url_path_join(base_url, "pico/v1/.*"), openai.OpenAIUnknownPathHandler, shared),
        (url_path_join(base_url, "pico/.*"), ollama.OllamaUnknownPathHandler, shared),
    ]
