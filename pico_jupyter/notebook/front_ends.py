"""Detects the front end of an IPython shell from its requests, and chooses the display for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from pico_jupyter.notebook.live import Display, LiveDisplay, TextDisplay, WholeDisplay
from pico_jupyter.notebook.magics_conversation import CellRun


def choose_display(shell: InteractiveShell) -> Display:
    """Return the display for the front end: a notebook, a console or terminal, or a program that runs notebooks."""
    if getattr(shell, "kernel", None) is None:
        return TextDisplay(_write, dims=sys.stdout.isatty())
    # Programs that run notebooks do not allow requests for input. Consoles send no cell ids.
    if not _request(shell).get("content", {}).get("allow_stdin"):
        return WholeDisplay(_publisher(shell))
    return LiveDisplay(_publisher(shell)) if current_cell(shell).id else TextDisplay(_write, dims=True)


def current_cell(shell: InteractiveShell) -> CellRun:
    """Return the execution of the running cell."""
    metadata = _request(shell).get("metadata", {})
    return CellRun(str(metadata.get("cellId") or ""), shell.execution_count)


def _request(shell: InteractiveShell) -> dict[str, Any]:
    """Return the execute_request of the running cell, or {} in IPython at a terminal."""
    kernel = getattr(shell, "kernel", None)
    return {} if kernel is None else dict(kernel.get_parent("shell"))


def _publisher(shell: InteractiveShell) -> Callable[[str, dict[str, Any]], None]:
    def publish(kind: str, content: dict[str, Any]) -> None:
        shell.display_pub.publish(**content, update=kind == "update_display_data")

    return publish


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
