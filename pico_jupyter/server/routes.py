"""Maps paths to handlers. Below api/, only exact paths are mapped, because Jupyter's own API is there too.

Several slashes in a row count as one, because clients append "/v1/chat/completions" to base URLs that end in a slash.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from jupyter_server.utils import url_path_join
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, PathMatches
from tornado.routing import Rule as TornadoRule

from pico_jupyter.errors import NotSupported, PicoError
from pico_jupyter.server import anthropic_handlers as anthropic
from pico_jupyter.server import assistant_handlers as assistant
from pico_jupyter.server import completion_handlers as completions
from pico_jupyter.server import download_handlers as downloads
from pico_jupyter.server import embedding_handlers as embedding
from pico_jupyter.server import ollama_handlers as ollama
from pico_jupyter.server import openai_handlers as openai
from pico_jupyter.server import openapi_handler as openapi
from pico_jupyter.server import responses_handlers as responses
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.handlers import DialectHandler

Rule: TypeAlias = tuple[str, type[DialectHandler], dict[str, Any]]


def _refusal(kind: type[PicoError], message: str, *methods: str) -> dict[str, Any]:
    return {"methods": methods, "kind": kind, "message": message}


# Ollama clients send HEAD to the root of their base URL. Jupyter answers it at /, and this extension at /pico/.
# The paths below /pico/ also remain usable if another extension handles v1/.
MOUNTS = ("", "pico/")

ENDPOINTS: tuple[Rule, ...] = (
    ("v1/chat/completions", openai.OpenAIChatHandler, {"path": "v1/chat/completions"}),
    ("v1/chat", openai.OpenAIChatHandler, {"path": "v1/chat"}),
    ("v1/responses", responses.ResponsesHandler, {}),
    ("v1/responses/([^/]+)/input_items", responses.ResponseInputHandler, {}),
    ("v1/responses/([^/]+)", responses.StoredResponseHandler, {}),
    ("v1/chat/completions/render", completions.RenderHandler, {}),
    ("v1/completions", completions.OpenAICompletionHandler, {}),
    ("v1/messages", anthropic.AnthropicMessagesHandler, {}),
    ("v1/messages/count_tokens", anthropic.AnthropicCountHandler, {}),
    ("v1/tokenize", completions.TokenizeHandler, {}),
    ("v1/detokenize", completions.DetokenizeHandler, {}),
    ("v1/models/([^/].*?)", openai.OpenAIModelsHandler, {}),
    ("v1/models", openai.OpenAIModelsHandler, {}),
    ("v1/memory", openai.OpenAIMemoryHandler, {}),
    ("v1/usage", openai.OpenAIUsageHandler, {}),
    ("v1/embeddings", embedding.OpenAIEmbeddingsHandler, {}),
    ("v1/rerank", embedding.RerankHandler, {}),
    ("v1", openai.OpenAIStatusHandler, {}),
    ("api/chat", ollama.OllamaChatHandler, {}),
    ("api/generate", ollama.OllamaGenerateHandler, {}),
    ("api/embed", embedding.OllamaEmbedHandler, {}),
    ("api/embeddings", embedding.OllamaEmbeddingsHandler, {}),
    ("api/tags", ollama.OllamaTagsHandler, {}),
    ("api/ps", ollama.OllamaProcessesHandler, {}),
    ("api/version", ollama.OllamaVersionHandler, {}),
    ("api/show", ollama.OllamaShowHandler, {}),
    ("api/pull", ollama.OllamaPullHandler, {}),
    ("api/delete", ollama.OllamaDeleteHandler, {}),
    ("api/(?:copy|create|push)", ollama.OllamaRefusingHandler, _refusal(NotSupported, "not supported", "POST")),
    ("api/blobs/.+?", ollama.OllamaRefusingHandler, _refusal(NotSupported, "not supported", "POST", "HEAD")),
)

# Endpoints of this API, which exist below pico/ only.
OWN_ENDPOINTS: tuple[Rule, ...] = (
    ("pico/downloads", downloads.DownloadsHandler, {}),
    ("pico/downloads/([^/]+)/([^/]+)", downloads.DownloadHandler, {}),
    ("pico/skipped", downloads.SkippedHandler, {}),
    ("pico/hub/recommended", downloads.HubRecommendedHandler, {}),
    ("pico/hub/search", downloads.HubSearchHandler, {}),
    ("pico/hub/models/([^/]+)/([^/]+)", downloads.HubModelHandler, {}),
    ("pico/tools", assistant.ToolsHandler, {}),
    ("pico/tools/([^/]+)", assistant.ToolCallHandler, {}),
)

# Endpoints that the OpenAPI document does not describe, because they have another protocol.
PROTOCOL_ENDPOINTS: tuple[Rule, ...] = (("pico/mcp", assistant.McpHandler, {}),)

# Endpoints of Anthropic that this server does not have, such as v1/messages/batches.
ANTHROPIC_PATHS = r"v1/(?:messages|complete)(?:/.*)?"
# Endpoints of OpenAI's clients if their base URL lacks v1.
PATHS_WITHOUT_V1 = "(?:chat/completions|completions|responses|embeddings|models|rerank)"


class _HeadMatches(Matcher):
    """Matches HEAD requests to a path. Ollama's clients and Claude Code send them to the root of their base URL."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {} if request.method == "HEAD" and self._pattern.fullmatch(request.path) else None


def rules(context: ServerContext) -> list[Rule]:
    """The rules of ENDPOINTS below each of MOUNTS, and of the paths that exist only below pico/."""
    shared = {"context": context}
    endpoints = [
        (_with_any_slashes(mount + path), handler, {**shared, **arguments})
        for mount in MOUNTS
        for path, handler, arguments in ENDPOINTS
    ]
    only_below_pico = [
        (_with_any_slashes("pico"), ollama.OllamaRootHandler, shared),
        (_with_any_slashes("pico/openapi.json"), openapi.OpenAPIHandler, shared),
        (_with_any_slashes("pico/pages"), assistant.PagesHandler, shared),
        *((_with_any_slashes(path), handler, shared) for path, handler, _ in (*OWN_ENDPOINTS, *PROTOCOL_ENDPOINTS)),
    ]
    return [*endpoints, *only_below_pico]


def fallback_rules(base_url: str, context: ServerContext) -> list[TornadoRule]:
    """The rules for unknown paths. Their patterns begin with the server's base URL.

    Add these rules after those of other extensions.
    """
    shared = {"context": context}
    unknown: tuple[tuple[str, type[DialectHandler]], ...] = (
        *((mount + ANTHROPIC_PATHS, anthropic.AnthropicUnknownPathHandler) for mount in MOUNTS),
        *((f"{mount}v1/.*", openai.OpenAIUnknownPathHandler) for mount in MOUNTS),
        *((mount + PATHS_WITHOUT_V1, openai.OpenAIUnknownPathHandler) for mount in MOUNTS),
        ("pico/.*", ollama.OllamaUnknownPathHandler),
    )
    return [
        *(
            TornadoRule(PathMatches(url_path_join(base_url, _with_any_slashes(path))), kind, shared)
            for path, kind in unknown
        ),
        TornadoRule(_HeadMatches(f"{base_url.rstrip('/')}/*"), ollama.OllamaRootHandler, shared),
    ]


def _with_any_slashes(path: str) -> str:
    # url_path_join strips slashes from the ends of a pattern, so the pattern may not begin or end in one.
    return "(?:/*)" + path.replace("/", "/+") + "/*"
