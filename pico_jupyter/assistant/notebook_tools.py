"""Describes the tools that read and change the open notebook. The page of JupyterLab implements them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

from pico_jupyter.tool_reports import AssistantTool

DEFINITIONS = Path(__file__).with_suffix(".json")


@cache
def notebook_tools() -> tuple[AssistantTool, ...]:
    """The tools of the open notebook."""
    return msgspec.json.decode(DEFINITIONS.read_bytes(), type=tuple[AssistantTool, ...])
