"""Clients of other packages, configured for a server. They are imported in the call: nobody has to have them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pico_jupyter.sources.address import ServerAddress

if TYPE_CHECKING:
    from ollama import AsyncClient, Client
    from openai import AsyncOpenAI, OpenAI

# The SDKs want a key, and a server without authentication does not look at it.
NO_KEY = "none"


def openai_client(address: ServerAddress) -> OpenAI:
    """Raises ImportError."""
    client: OpenAI = _package("openai").OpenAI(**_for_openai(address))
    return client


def async_openai_client(address: ServerAddress) -> AsyncOpenAI:
    """Raises ImportError."""
    client: AsyncOpenAI = _package("openai").AsyncOpenAI(**_for_openai(address))
    return client


def ollama_client(address: ServerAddress) -> Client:
    """Raises ImportError."""
    client: Client = _package("ollama").Client(**_for_ollama(address))
    return client


def async_ollama_client(address: ServerAddress) -> AsyncClient:
    """Raises ImportError."""
    client: AsyncClient = _package("ollama").AsyncClient(**_for_ollama(address))
    return client


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
