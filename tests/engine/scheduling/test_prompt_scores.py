"""Log-probabilities of prompts: each choice receives them once, before its text."""

from __future__ import annotations

from itertools import chain

import pytest

from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.types import Accepted, Finished, ModelInfo, TextDelta
from tests.engine.scheduling.scheduler_rig import Rig
from tests.fakes.backend import FAKE_EOS, FakeBackend, FakePrefixes, ListSink

SCORED = RowSampling(top_logprobs=0)
LONG = list(range(100, 500))


def spelled(sink: ListSink, index: int = 0) -> str:
    """The tokens of a choice that have an entry in the list of log-probabilities."""
    deltas = [delta for delta in sink.deltas if isinstance(delta, TextDelta) and delta.index == index]
    return "".join(entry.token for entry in chain.from_iterable(delta.logprobs for delta in deltas))


def test_the_tokens_of_the_prompt_precede_those_of_the_answer() -> None:
    rig = Rig()
    _, sink = rig.add([1, 2, 3], max_tokens=2, sampling=SCORED, scores_prompt=True)
    rig.run()
    assert (sink.text, spelled(sink)) == ("4 5 ", "1 2 3 4 5 ")


def test_the_first_token_has_the_log_probability_zero() -> None:
    rig = Rig()
    _, sink = rig.add([1, 2, 3], sampling=SCORED, scores_prompt=True)
    rig.run()
    prompt = next(delta for delta in sink.deltas if isinstance(delta, TextDelta))
    assert (prompt.text, [entry.logprob for entry in prompt.logprobs]) == ("", [0.0, -0.5, -0.5])


@pytest.mark.parametrize("prompt", [[1], [1, 2, 3], LONG], ids=["one token", "one chunk", "many chunks"])
def test_without_an_answer_only_the_prompt_is_scored(prompt: list[int]) -> None:
    rig = Rig()
    _, sink = rig.add(prompt, max_tokens=0, sampling=SCORED, scores_prompt=True)
    rig.run()
    assert [type(delta) for delta in sink.deltas] == [Accepted, TextDelta, Finished]
    assert spelled(sink) == "".join(f"{token} " for token in prompt)
    assert sink.finished
    assert sink.finished.finish_reasons == ("length",)
    assert (sink.finished.usage.prompt_tokens, sink.finished.usage.completion_tokens) == (len(prompt), 0)
    assert rig.backends["fake"].rows == []


def test_each_choice_receives_the_prompt() -> None:
    rig = Rig()
    _, sink = rig.add([1, 2], max_tokens=1, n=2, sampling=SCORED, scores_prompt=True)
    rig.run()
    assert [spelled(sink, index) for index in (0, 1)] == ["1 2 3 ", "1 2 3 "]


def test_the_token_that_ends_the_answer_has_an_entry_too() -> None:
    def make(info: ModelInfo, prefixes: FakePrefixes) -> FakeBackend:
        return FakeBackend(answer=lambda prompt, sampling: iter([7, FAKE_EOS]))

    rig = Rig(make=make)
    _, sink = rig.add([1, 2], sampling=SCORED, scores_prompt=True)
    rig.run()
    assert (sink.text, spelled(sink)) == ("7 ", "1 2 7 0 ")


def test_a_scored_prompt_reuses_no_prefix() -> None:
    rig = Rig()
    rig.add(LONG)
    rig.run()
    _, sink = rig.add(LONG, sampling=SCORED, scores_prompt=True)
    rig.run()
    assert sink.finished
    assert sink.finished.usage.cached_tokens == 0
    assert spelled(sink).startswith("100 101 102 ")


def test_a_scored_prompt_waits_for_no_leader() -> None:
    rig = Rig(prefill_step_size=64)
    rig.add(LONG)
    _, sink = rig.add(LONG, sampling=SCORED, scores_prompt=True)
    rig.run()
    assert sink.finished
    assert sink.finished.usage.cached_tokens == 0


@pytest.mark.parametrize("received", [False, True], ids=["during the prefill", "during the answer"])
def test_a_requeued_prompt_is_scored_once(received: bool) -> None:
    rig = Rig(prefill_step_size=64)
    generation, sink = rig.add(LONG, max_tokens=4, sampling=SCORED, scores_prompt=True)
    rig.step_until(lambda: bool(sink.text) if received else generation.prefilled > 0)
    rig.scheduler._lifecycle.preempt(generation)
    rig.run()
    assert rig.scheduler.statistics.preemptions == 1
    assert spelled(sink) == "".join(f"{token} " for token in [*LONG, 500, 501, 502, 503])


def test_a_prompt_is_scored_once_if_a_step_fails() -> None:
    rig = Rig()
    _, sink = rig.add([1, 2], max_tokens=2, sampling=SCORED, scores_prompt=True)
    rig.step_until(lambda: bool(rig.backends and rig.backends["fake"].decoding))
    rig.backends["fake"].fail("step", RuntimeError("broken"))
    rig.recover_until(lambda: sink.is_ended)
    assert spelled(sink) == "1 2 3 4 "
