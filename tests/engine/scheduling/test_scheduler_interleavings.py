"""Random requests, aborts, failures and short memory: each request ends once, with the tokens it would get alone."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.errors import QueueFull
from pico_jupyter.types import ModelInfo
from tests.engine.scheduling.scheduler_rig import Rig
from tests.fakes.backend import FakeBackend, FakePrefixes, ListSink, fake_info
from tests.property_examples import examples

SHARED = list(range(1000, 1050))

adding = st.tuples(
    st.just("add"),
    st.sampled_from("aab"),
    st.tuples(st.integers(1, 60), st.integers(0, 40)),  # tokens of the prompt and of the answer
    st.integers(1, 3),  # choices
    st.booleans(),  # whether the prompt shares a beginning with others
    st.booleans(),  # whether it has a draft model
)
aborting = st.tuples(st.just("abort"), st.integers(0, 9))
stepping = st.tuples(st.just("step"), st.integers(1, 8))
failing = st.tuples(
    st.just("fail"), st.sampled_from(["load_step", "insert", "prefill", "step"]), st.integers(0, 2), st.integers(1, 3)
)
waiting = st.tuples(st.just("wait"), st.sampled_from([0.5, 30.0, 400.0]))
unloading = st.tuples(st.just("unload"), st.sampled_from("abc"))


class Optimistic(FakeBackend):
    """Estimates less memory for rows than they use, so that they outgrow what was reserved for them."""

    def estimate_cache(self, tokens: int) -> int:
        return super().estimate_cache(tokens) // 4


class Play:
    """A scheduler, the generations added to it, and the actions of a script."""

    def __init__(self, *, budget: int, prefill_step_size: int = 8, breaking: tuple[int, ...] = ()) -> None:
        def make(info: ModelInfo, prefixes: FakePrefixes) -> FakeBackend:
            return Optimistic(
                prefixes=prefixes, breaking=breaking, on_step=self.tick, on_prefill=lambda tokens: self.tick()
            )

        self.rig = Rig(max_rows=4, max_queue=3, prefill_step_size=prefill_step_size, budget=budget, make=make)
        self.added: list[tuple[Generation, ListSink]] = []
        self.aborted: set[int] = set()
        self.failures = 0

    def tick(self) -> None:
        self.rig.clock.advance(0.01)

    def run(self, script: list[tuple[Any, ...]]) -> None:
        for verb, *values in script:
            getattr(self, verb)(*values)
            self.check_accounts()
        for _ in range(3000):
            if not self.rig.scheduler.has_work:
                return
            self.rig.step_and_recover()
        raise AssertionError(f"a request never ends: {self.rig.scheduler!r}")

    def add(self, model: str, tokens: tuple[int, int], n: int, is_shared: bool, is_drafted: bool) -> None:
        length, max_tokens = tokens
        own = 10_000 * (len(self.added) + 1)
        prompt = [*(SHARED if is_shared else []), *range(own, own + length)]
        with suppress(QueueFull):
            draft = fake_info("draft") if is_drafted and n == 1 else None
            self.added.append(self.rig.add(prompt, info=fake_info(model), max_tokens=max_tokens, n=n, draft=draft))

    def abort(self, number: int) -> None:
        if not self.added:
            return
        generation, _ = self.added[number % len(self.added)]
        if generation.phase != "done":
            self.aborted.add(id(generation))
        self.rig.scheduler.abort(generation)

    def step(self, count: int) -> None:
        for _ in range(count):
            self.rig.step_and_recover()

    def fail(self, verb: str, number: int, times: int) -> None:
        backends = list(self.rig.backends.values())
        if backends:
            backends[number % len(backends)].fail(verb, RuntimeError("as scripted"), times)

    def wait(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)

    def unload(self, model: str) -> None:
        self.rig.models.unload(model)

    def check_accounts(self) -> None:
        """All bytes in use are weights, rows or prefixes, and every row belongs to a running request."""
        alive = [backend for backend in self.rig.backends.values() if not backend.is_closed]
        used = sum(backend.weights_nbytes + backend.cache_nbytes for backend in alive) + self.rig.prefixes.nbytes
        assert self.rig.models.used_bytes == used
        running = {
            row for generation, _ in self.added if generation.phase in ("prefill", "decode") for row in generation.rows
        }
        assert {row for backend in alive for row in backend.rows} <= running

    def check_answers(self) -> None:
        for generation, sink in self.added:
            assert sink.is_ended != (id(generation) in self.aborted)
            alone = [generation.prompt[-1] + token for token in range(1, generation.max_tokens + 1)]
            for sequence in generation.sequences:
                assert sequence.tokens == alone[: len(sequence.tokens)]
                assert not sink.finished or sequence.tokens == alone
            if sink.finished:
                assert sink.text.split().count(str(generation.prompt[-1] + 1)) == (
                    len(generation.sequences) if generation.max_tokens else 0
                )

    def check_nothing_is_left(self) -> None:
        assert all(model.active == 0 for model in self.rig.models.resident())
        assert all(backend.rows == [] for backend in self.rig.backends.values())
        assert all((resident.running, resident.reserved) == (0, 0) for resident in self.rig.models._residents.values())
        self.rig.clock.advance(10_000)
        self.rig.models.expire()
        assert self.rig.models.used_bytes == 0


@settings(deadline=None, max_examples=examples(150), derandomize=True)
@given(
    script=st.lists(st.one_of(adding, aborting, stepping, failing, waiting, unloading), max_size=30),
    budget=st.sampled_from([1200, 2400]),
)
def test_each_request_ends_once_and_frees_everything(script: list[tuple[Any, ...]], budget: int) -> None:
    play = Play(budget=budget)
    play.run(script)
    play.check_answers()
    play.check_nothing_is_left()


@settings(deadline=None, max_examples=examples(100), derandomize=True)
@given(
    script=st.lists(st.one_of(adding, aborting, stepping), min_size=6, max_size=30),
    budget=st.sampled_from([1150, 1250, 2300]),
)
def test_without_failures_each_request_that_fits_finishes(script: list[tuple[Any, ...]], budget: int) -> None:
    play = Play(budget=budget)
    play.run(script)
    play.check_answers()
    for generation, sink in play.added:
        needed = 1000 + len(generation.sequences) * (len(generation.prompt) + generation.max_tokens)
        if id(generation) not in play.aborted and needed <= budget:
            assert sink.finished
    play.check_nothing_is_left()


@settings(deadline=None, max_examples=examples(60), derandomize=True)
@given(script=st.lists(st.one_of(adding, stepping), min_size=4, max_size=20), breaking=st.integers(1, 6))
def test_only_the_request_that_breaks_its_batch_fails(script: list[tuple[Any, ...]], breaking: int) -> None:
    play = Play(budget=100_000, breaking=(10_000 * breaking,))
    play.run(script)
    play.check_answers()
    for generation, sink in play.added:
        is_breaking = generation.prompt[0] == 10_000 * breaking and generation.max_tokens > 0
        assert (sink.finished is None) == is_breaking
    play.check_nothing_is_left()
