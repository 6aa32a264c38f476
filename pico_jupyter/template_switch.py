"""Defines TemplateSwitch: how a request turns the reasoning of a model on and off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

# The efforts of reasoning that templates know, ascending.
EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")


class TemplateSwitch(msgspec.Struct, frozen=True):
    """How a request turns a model's reasoning on and off.

    on, off: the template variables that do so. off is None for a model that always reasons.
    effort_variable: the template variable for the effort; "" without one. efforts: its values, ascending.
    system_on, system_off: texts in the system message that do so, for templates that read the switch from there.
    """

    on: dict[str, Any] = {}
    off: dict[str, Any] | None = None
    effort_variable: str = ""
    efforts: tuple[str, ...] = ()
    system_on: str = ""
    system_off: str = ""

    def variables(self, reasoning: bool | None, effort: str | None) -> dict[str, Any]:
        """The template variables of a request. `reasoning` None: the model's default, with the effort if one is given.

        An effort that the template does not have is replaced by the next higher one that it has, or else by its highest
        one. A model that cannot stop reasoning reasons with the lowest effort.
        """
        if reasoning is False:
            return self._effort(self.efforts[:1]) if self.off is None else dict(self.off)
        switched = dict(self.on) if reasoning else {}
        if effort not in EFFORTS:
            return switched
        rank = EFFORTS.index(effort)
        higher = [name for name in self.efforts if EFFORTS.index(name) >= rank]
        return switched | self._effort(higher[:1] or self.efforts[-1:])

    def _effort(self, names: Sequence[str]) -> dict[str, Any]:
        return {self.effort_variable: names[0]} if names else {}
