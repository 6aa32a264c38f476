"""Who looks at the outputs of a shell, and what suits them. Knows the messages of Jupyter's protocol."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from pico_jupyter.notebook.dialogue import Cell
from pico_jupyter.notebook.live import Display, LiveDisplay, TextDisplay, WholeDisplay


def choose_display(shell: InteractiveShell) -> Display:
    """For a front end that knows cells, for a console or a terminal, or for a program that runs notebooks."""
    if getattr(shell, "kernel", None) is None:
        return TextDisplay(_write, dims=sys.stdout.isatty())
    # Whoever can be asked for input is a person.
    if not _request(shell).get("content", {}).get("allow_stdin"):
        return WholeDisplay(_publisher(shell))
    return LiveDisplay(_publisher(shell)) if cell_of(shell).id else TextDisplay(_write, dims=True)


def cell_of(shell: InteractiveShell) -> Cell:
    """The cell that runs."""
    metadata = _request(shell).get("metadata", {})
    return Cell(str(metadata.get("cellId") or ""), shell.execution_count)


def _request(shell: InteractiveShell) -> dict[str, Any]:
    """The message that asked for the run; {} where there are no messages."""
    kernel = getattr(shell, "kernel", None)
    return {} if kernel is None else dict(kernel.get_parent("shell"))


def _publisher(shell: InteractiveShell) -> Callable[[str, dict[str, Any]], None]:
    def publish(kind: str, content: dict[str, Any]) -> None:
        shell.display_pub.publish(**content, update=kind == "update_display_data")

    return publish


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
