"""Declares and decodes the requests of pico/tools."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from pico_jupyter.dialects.request_bodies import decode_fields, decode_object
from pico_jupyter.dialects.request_fields import RequestStruct, about


class ToolCallRequest(RequestStruct, frozen=True):
    """A call of a tool."""

    arguments: Annotated[dict[str, Any], about("The arguments, as the tool's schema describes them.")] = msgspec.field(
        default_factory=dict
    )


def parse_tool_call(body: bytes) -> ToolCallRequest:
    """Parse the body of a POST to pico/tools/{name}. Raises InvalidRequest."""
    return decode_fields(decode_object(body), ToolCallRequest)
