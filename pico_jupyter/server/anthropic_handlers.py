"""Answers the paths of Anthropic's API, which this server does not have, in that API's format."""

from __future__ import annotations

from pico_jupyter.dialects import anthropic_errors
from pico_jupyter.server.handlers import NoEndpointHandler


class AnthropicUnknownPathHandler(NoEndpointHandler):
    """Answers v1/messages and v1/complete with 404."""

    dialect = anthropic_errors
