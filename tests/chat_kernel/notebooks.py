"""Builds saved notebooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def saved_cell(name: str, source: str | list[str], answer: str = "", **facts: Any) -> dict[str, Any]:
    """A code cell that ran, with the output of an answer if there is one."""
    output = {
        "output_type": "display_data",
        "data": {"text/plain": answer},
        "metadata": {"pico_jupyter": {"answer": answer}},
    }
    outputs = [output] if answer else []
    cell = {"id": name, "cell_type": "code", "source": source, "metadata": {}, "execution_count": 1, "outputs": outputs}
    return {**cell, **facts}


def notebook(*cells: dict[str, Any]) -> dict[str, Any]:
    kernel = {"name": "pico", "display_name": "Pico chat", "language": "markdown"}
    return {"cells": list(cells), "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def save(file: Path, *cells: dict[str, Any]) -> None:
    file.write_text(json.dumps(notebook(*cells)))
