"""Creates clients of the openai and ollama packages. Both are optional, and imported only when they are used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

from pico_jupyter.sources.server_address import ServerAddress

if TYPE_CHECKING:
    from ollama import AsyncClient, Client
    from openai import AsyncOpenAI, OpenAI

# The openai package requires a key. A server without authentication ignores it.
NO_KEY = "none"


def openai_client(address: ServerAddress) -> OpenAI:
    """Return an openai.OpenAI. Raises ImportError if the package is not installed."""
    return cast("OpenAI", _package("openai").OpenAI(**_for_openai(address)))


def async_openai_client(address: ServerAddress) -> AsyncOpenAI:
    """Return an openai.AsyncOpenAI. Raises ImportError if the package is not installed."""
    return cast("AsyncOpenAI", _package("openai").AsyncOpenAI(**_for_openai(address)))


def ollama_client(address: ServerAddress) -> Client:
    """Return an ollama.Client. Raises ImportError if the package is not installed."""
    return cast("Client", _package("ollama").Client(**_for_ollama(address)))


def async_ollama_client(address: ServerAddress) -> AsyncClient:
    """Return an ollama.AsyncClient. Raises ImportError if the package is not installed."""
    return cast("AsyncClient", _package("ollama").AsyncClient(**_for_ollama(address)))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ImportError(f"the {name} package is not installed here: %pip install {name}", name=name) from None


def _for_openai(address: ServerAddress) -> dict[str, str]:
    return {"base_url": f"{address.url}pico/v1", "api_key": address.token or NO_KEY}


def _for_ollama(address: ServerAddress) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
    return {"host": f"{address.url}pico", "headers": headers}
