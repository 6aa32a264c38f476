"""Which path is answered by which handler. Exact paths only: whatever else is below api/ is Jupyter's."""

from __future__ import annotations

from typing import Any, TypeAlias

from jupyter_server.utils import url_path_join

from pico_jupyter.server import openai
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.handlers import DialectHandler

Rule: TypeAlias = tuple[str, type[DialectHandler], dict[str, Any]]

# The second mount answers HEAD at its root, as Ollama's clients want it, and stays when another extension claims v1/.
MOUNTS = ("/", "/pico/")


def rules(context: ServerContext) -> list[Rule]:
    """The rules of both mounts, relative to the server's base URL."""
    endpoints: list[tuple[str, type[DialectHandler], dict[str, Any]]] = [
        ("v1/chat/completions", openai.ChatHandler, {"path": "v1/chat/completions"}),
        ("v1/chat", openai.ChatHandler, {"path": "v1/chat"}),
        ("v1/models/(.+?)", openai.ModelsHandler, {}),
        ("v1/models", openai.ModelsHandler, {}),
        ("v1", openai.StatusHandler, {}),
    ]
    return [
        (f"{mount}{path}/?", handler, {"context": context, **arguments})
        for mount in MOUNTS
        for path, handler, arguments in endpoints
    ]


def fallback_rules(base_url: str, context: ServerContext) -> list[Rule]:
    """The rules for what nobody answers, with the base URL. They go behind those of all other extensions."""
    shared = {"context": context}
    return [(url_path_join(base_url, "v1/.*"), openai.UnknownPathHandler, shared)]
