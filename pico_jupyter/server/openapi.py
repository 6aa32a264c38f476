"""Serves the OpenAPI document of this server. Knows no field of it."""

from __future__ import annotations

from pico_jupyter import __version__
from pico_jupyter.dialects import openai
from pico_jupyter.dialects.framing import encode_json
from pico_jupyter.dialects.openapi import openapi_document
from pico_jupyter.server.handlers import DialectHandler, permitted


class DocumentHandler(DialectHandler):
    """GET pico/openapi.json."""

    dialect = openai
    methods = ("GET", "HEAD")

    @permitted("read")
    async def get(self) -> None:
        """Describe all endpoints, as they are below this server's base URL."""
        document = openapi_document(
            base_url=self.base_url, version=__version__, authenticated=self.identity_provider.auth_enabled
        )
        self.respond(encode_json(document))

    head = get
