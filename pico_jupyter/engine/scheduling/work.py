"""Work: what the backends are doing just now, and our words for what they raise. Knows no turn and no line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pico_jupyter.engine.scheduling.lane import Lane
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.errors import EngineFailed, ModelLoadFailed, OutOfMemory, PicoError
from pico_jupyter.types import ModelInfo

# What a backend was doing when it raised decides who pays for it; "take" is a parser's work.
Verb: TypeAlias = Literal["load", "prefill", "decode", "take", "remove"]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call that may raise, and the generations that it is for. `model` is what is being loaded."""

    verb: Verb
    generations: tuple[Generation, ...]
    lane: Lane | None
    model: ModelInfo | None


class Work:
    """The call that has begun and not ended."""

    def __init__(self) -> None:
        self.current: Call | None = None

    def __repr__(self) -> str:
        return f"<Work {self.current.verb if self.current else 'none'}>"

    @contextmanager
    def on(
        self,
        verb: Verb,
        generations: Iterable[Generation],
        lane: Lane | None = None,
        *,
        model: ModelInfo | None = None,
    ) -> Iterator[None]:
        """Name what is done within. Not forgotten when that raises: take() tells it then."""
        self.current = Call(verb, tuple(generations), lane, model)
        yield
        self.current = None

    def take(self) -> Call | None:
        """The call that raised, which is then forgotten."""
        call, self.current = self.current, None
        return call


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, OutOfMemory | MemoryError) or "malloc" in str(error)


def as_pico_error(error: Exception, generation: Generation, *, is_loading: bool = False) -> PicoError:
    """Our words for a foreign exception. Its own text may hold paths or prompts and goes to the log only."""
    name = generation.info.name
    if isinstance(error, PicoError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(f"{name} ran out of memory", model=name)
    if is_loading:
        return ModelLoadFailed(f"{name} could not be loaded: {type(error).__name__}: {error}", model=name)
    return EngineFailed(f"the engine failed while it ran {name}: {type(error).__name__}", model=name)
