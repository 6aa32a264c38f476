"""A scheduler with fake models, for the tests of its turns and of its failures."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.engine.memory.model_manager import ModelManager
from pico_jupyter.engine.scheduling.backend_call import BackendCallFailed
from pico_jupyter.engine.scheduling.scheduler import Scheduler
from pico_jupyter.engine.scheduling.sequence import Generation, Sequence, Timestamps
from pico_jupyter.types import ModelInfo
from tests.fakes.backend import FakeBackend, FakeClock, FakeParser, FakePrefixes, FakeVocabulary, ListSink, fake_info

GREEDY = RowSampling()
# The wall clock when the engine's clock is at 0.
EPOCH = 1_000_000.0


def plain(info: ModelInfo, prefixes: FakePrefixes) -> FakeBackend:
    return FakeBackend(weights_nbytes=info.size, prefixes=prefixes)


class Rig:
    """A scheduler with fake models, and short ways to use it."""

    def __init__(
        self,
        *,
        max_rows: int = 4,
        max_queue: int = 8,
        queue_timeout: float = 600.0,
        prefill_step_size: int = 4,
        budget: int = 1_000_000,
        make: Callable[[ModelInfo, FakePrefixes], FakeBackend] = plain,
    ) -> None:
        self.clock = FakeClock()
        self.prefixes = FakePrefixes()
        self.backends: dict[str, FakeBackend] = {}
        self.opened: list[str] = []
        self._make = make
        self._rows = itertools.count(1)
        self.models = ModelManager(
            self._open,
            prefixes=self.prefixes,
            capacity=Capacity(budget),
            keep_alive=300.0,
            clock=self.clock,
            wall_clock=lambda: 0.0,
        )
        self.scheduler = Scheduler(
            self.models,
            max_rows=max_rows,
            max_queue=max_queue,
            queue_timeout=queue_timeout,
            prefill_step_size=prefill_step_size,
            clock=self.clock,
            wall_clock=lambda: EPOCH + self.clock(),
        )

    def _open(self, info: ModelInfo, free: int) -> FakeBackend:
        self.opened.append(info.name)
        self.backends[info.name] = self._make(info, self.prefixes)
        return self.backends[info.name]

    def add(
        self,
        prompt: list[int],
        *,
        max_tokens: int = 3,
        info: ModelInfo | None = None,
        n: int = 1,
        keep_alive: float = 300.0,
        stop_at: int | None = None,
        break_at: int | None = None,
        sampling: RowSampling = GREEDY,
        return_context: bool = False,
        draft: ModelInfo | None = None,
        scores_prompt: bool = False,
    ) -> tuple[Generation, ListSink]:
        sink = ListSink()
        generation = Generation(
            id="test",
            info=info or fake_info(),
            prompt=prompt,
            max_tokens=max_tokens,
            reasoning=False,
            sequences=[
                Sequence(next(self._rows), index, sampling, FakeParser(stop_at, index, break_at)) for index in range(n)
            ],
            vocabulary=FakeVocabulary(),
            keep_alive=keep_alive,
            sink=sink,
            times=Timestamps(self.clock()),
            return_context=return_context,
            draft=draft,
            draft_tokens=3 if draft else 0,
            scores_prompt=scores_prompt,
        )
        self.scheduler.add(generation)
        return generation, sink

    def run(self, steps: int = 200) -> None:
        """Step until there is no work. No call may fail."""
        for _ in range(steps):
            if not self.scheduler.has_work:
                return
            self.scheduler.step()
        raise AssertionError(f"work is left: {self.scheduler!r}")

    def step_until(self, condition: Callable[[], bool]) -> None:
        """Step until a condition holds. No call may fail."""
        for _ in range(200):
            if condition():
                return
            self.scheduler.step()
        raise AssertionError(f"the condition never held: {self.scheduler!r}")

    def step_and_recover(self) -> None:
        """One step as the engine makes it: a failed call goes to recover()."""
        try:
            self.scheduler.step()
        except BackendCallFailed as failed:
            if isinstance(failed.error, AssertionError):
                raise  # The fake backend found a broken contract.
            self.scheduler.recover(failed)

    def recover_until(self, condition: Callable[[], bool], steps: int = 200) -> None:
        """Step at least once, and until a condition holds. Calls may fail."""
        for _ in range(steps):
            self.step_and_recover()
            if condition():
                return
        raise AssertionError(f"the condition never held: {self.scheduler!r}")
