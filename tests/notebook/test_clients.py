"""Clients of other packages, configured for a server."""

from __future__ import annotations

import sys

import pytest

from pico_jupyter.notebook.clients import async_ollama_client, async_openai_client, ollama_client, openai_client
from pico_jupyter.sources.server_address import ServerAddress

ADDRESS = ServerAddress("http://localhost:8888/user/ada/", "secret")


def test_the_openai_client_has_the_address_and_the_token() -> None:
    with openai_client(ADDRESS) as client:
        assert str(client.base_url) == "http://localhost:8888/user/ada/pico/v1/"
        assert client.api_key == "secret"


def test_without_a_token_the_openai_client_gets_a_placeholder() -> None:
    with openai_client(ServerAddress("http://localhost:8888/", "")) as client:
        assert client.api_key == "none"


@pytest.mark.parametrize(
    ("client", "package"),
    [
        (openai_client, "openai"),
        (async_openai_client, "openai"),
        (ollama_client, "ollama"),
        (async_ollama_client, "ollama"),
    ],
)
def test_a_missing_package_is_named(client: object, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"the {package} package is not installed here: %pip install {package}"):
        client(ADDRESS)
