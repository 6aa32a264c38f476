"""Models: the list of the models on this machine. Notebooks display it as a table."""

from __future__ import annotations

from typing import Any

from pico_jupyter.sizes import about
from pico_jupyter.sources.calls import ListedModel

HEADINGS = ("model", "parameters", "on disk", "context", "can", "in memory")


class Models(list[ListedModel]):
    """The models on this machine, in the order of the catalog."""

    @property
    def names(self) -> list[str]:
        """The names of the models."""
        return [model.name for model in self]

    def __repr__(self) -> str:
        rows = [HEADINGS, *map(_cells, self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """Return the table as Markdown and as text."""
        rows = [HEADINGS, ("---",) * len(HEADINGS), *map(_cells, self)]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return {"text/markdown": table, "text/plain": repr(self)}


def _cells(model: ListedModel) -> tuple[str, ...]:
    parameters = " ".join(word for word in (model.parameters, model.quantization) if word)
    resident = "" if model.resident is None else about(model.resident)
    can = ", ".join(word for word in model.capabilities if word != "completion")
    return (model.name, parameters, about(model.size), str(model.context), can, resident)
