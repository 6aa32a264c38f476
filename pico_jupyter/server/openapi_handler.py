"""Serves the OpenAPI document of this server."""

from __future__ import annotations

import functools

from pico_jupyter import __version__
from pico_jupyter.dialects import openai_answer
from pico_jupyter.dialects.framing import encode_json
from pico_jupyter.dialects.openapi import openapi_document
from pico_jupyter.server.handlers import DialectHandler, permitted


class OpenAPIHandler(DialectHandler):
    """GET pico/openapi.json."""

    dialect = openai_answer
    methods = ("GET", "HEAD")

    @permitted("read")
    async def get(self) -> None:
        """Describe all endpoints below this server's base URL."""
        self.respond(_document(self.base_url, authenticated=self.identity_provider.auth_enabled))

    head = get


@functools.cache
def _document(base_url: str, *, authenticated: bool) -> bytes:
    return encode_json(openapi_document(base_url=base_url, version=__version__, authenticated=authenticated))
