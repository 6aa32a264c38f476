"""Models: the models on this machine, as a list that notebooks show as a table. Knows no source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pico_jupyter.errors import EngineUnavailable
from pico_jupyter.sizes import about
from pico_jupyter.sources.calls import Model, Turn

HEADINGS = ("model", "parameters", "on disk", "context", "can", "in memory")


class Models(list[Model]):
    """The models on this machine, in the order in which they are listed."""

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [model.name for model in self]

    def __repr__(self) -> str:
        rows = [HEADINGS, *map(_cells, self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """A table where there can be one."""
        rows = [HEADINGS, ("---",) * len(HEADINGS), *map(_cells, self)]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return {"text/markdown": table, "text/plain": repr(self)}


def choose_model(models: list[Model], turns: Iterable[Turn] = ()) -> Model:
    """Who answers where no model is named: the first that sees what is shown.

    Where none does it is the first, so that its refusal is told. Raises EngineUnavailable if there is none.
    """
    if not models:
        raise EngineUnavailable("there is no model on this machine")
    shown = {attachment.kind for turn in turns for attachment in turn.attachments}
    capability = "video" if "video" in shown else "vision" if "image" in shown else "completion"
    return next((model for model in models if capability in model.capabilities), models[0])


def _cells(model: Model) -> tuple[str, ...]:
    parameters = " ".join(word for word in (model.parameters, model.quantization) if word)
    resident = "" if model.resident is None else about(model.resident)
    can = ", ".join(word for word in model.capabilities if word != "completion")
    return (model.name, parameters, about(model.size), str(model.context), can, resident)
