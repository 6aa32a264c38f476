"""OutputPhase: the states of the parser of answers."""

from __future__ import annotations

from enum import Enum, auto


class OutputPhase(Enum):
    """The part of the answer that the parser is reading."""

    HEADER = auto()
    BEFORE_CONTENT = auto()
    BEFORE_REASONING = auto()
    REASONING = auto()
    CONTENT = auto()
    CALL = auto()
    TOOL_MESSAGE = auto()
    STOPPED = auto()
