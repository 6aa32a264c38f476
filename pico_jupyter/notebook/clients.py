"""Clients of other packages, configured for a server. They are imported in the call: nobody has to have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pico_jupyter.sources.address import ServerAddress

if TYPE_CHECKING:
    import ollama
    import openai

# The SDKs want a key, and a server without authentication does not look at it.
NO_KEY = "none"


def openai_client(address: ServerAddress) -> openai.OpenAI:
    """Raises ImportError."""
    import openai

    return openai.OpenAI(base_url=f"{address.url}pico/v1", api_key=address.token or NO_KEY)


def async_openai_client(address: ServerAddress) -> openai.AsyncOpenAI:
    """Raises ImportError."""
    import openai

    return openai.AsyncOpenAI(base_url=f"{address.url}pico/v1", api_key=address.token or NO_KEY)


def ollama_client(address: ServerAddress) -> ollama.Client:
    """Raises ImportError."""
    import ollama

    return ollama.Client(f"{address.url}pico", headers=_headers(address))


def async_ollama_client(address: ServerAddress) -> ollama.AsyncClient:
    """Raises ImportError."""
    import ollama

    return ollama.AsyncClient(f"{address.url}pico", headers=_headers(address))


def _headers(address: ServerAddress) -> dict[str, str]:
    return {"Authorization": f"Bearer {address.token}"} if address.token else {}
