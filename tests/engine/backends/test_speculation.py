"""Speculative decoding: the tokens and the caches without drafts are the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import mlx.core as mx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlx.utils import tree_flatten

from pico_jupyter.engine.backend import DraftModel, RowSampling, SampledToken
from pico_jupyter.engine.backends.batch import DecodeBatch, ints
from pico_jupyter.engine.backends.lm import LmBackend
from pico_jupyter.engine.backends.row import Row
from pico_jupyter.engine.backends.speculation import DraftStatistics, Speculation
from pico_jupyter.engine.memory.prefix_cache import PrefixCache
from tests.engine.backends.conductor import tiny_model
from tests.engine.tiny_models import TINY_MODELS, full_attention

GREEDY = RowSampling()
WARM = RowSampling(temperature=0.8, seed=7)
LONGEST = 80
PROMPT = [3, 1, 4, 1, 5, 9, 2, 6]
SAMPLINGS = {
    "greedy": GREEDY,
    "temperature": WARM,
    "filters": RowSampling(temperature=1.0, top_p=0.9, top_k=20, min_p=0.01, seed=3),
    "penalties": RowSampling(temperature=0.8, seed=5, repetition_penalty=1.3, frequency_penalty=0.4),
    "bias": RowSampling(logit_bias=((5, 8.0), (9, -100.0))),
    "log-probabilities": RowSampling(temperature=0.8, seed=2, top_logprobs=3),
}


@cache
def large_model() -> Any:
    """The same function as the tiny model with many more weights; the additional ones are zero."""
    small = tiny_model("full attention")
    large = type(small)(replace(small.args, intermediate_size=2048))
    shapes = {name: weight.shape for name, weight in tree_flatten(large.parameters())}
    padded = []
    for name, weight in tree_flatten(small.parameters()):
        missing = [(0, wide - narrow) for narrow, wide in zip(weight.shape, shapes[name], strict=True)]
        padded.append((name, mx.pad(weight, missing)))
    large.load_weights(padded)
    return large


@cache
def draft_model(kind: str) -> Any:
    """A draft model whose tokens are accepted always (equal), often (similar) or hardly ever (another)."""
    if kind == "equal":
        return tiny_model("full attention")
    if kind == "another":
        return full_attention(seed=99)
    model = full_attention()
    model.lm_head.weight = model.lm_head.weight + 0.15 * mx.random.normal(
        model.lm_head.weight.shape, key=mx.random.key(4)
    )
    return model


class Machine:
    """A clock that only calls of a model advance.

    A pass of the large model takes 1, and `width_time` more for each token after the first.
    """

    def __init__(self, width_time: float = 0.0) -> None:
        self.width_time = width_time
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def run(self, width: int, share: float = 1.0) -> None:
        self.now += share * (1 + (width - 1) * self.width_time)


class Timed:
    """A model whose calls advance a machine's clock."""

    def __init__(self, model: Any, machine: Machine) -> None:
        self._model = model
        self._machine = machine

    def __call__(self, tokens: mx.array, cache: Any = None) -> mx.array:
        self._machine.run(tokens.shape[1])
        logits: mx.array = self._model(tokens, cache=cache)
        return logits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def target(kind: str = "large", **options: Any) -> LmBackend:
    """A backend on a machine where a pass takes 1, whatever its width."""
    machine = Machine()
    model = large_model() if kind == "large" else tiny_model(kind)
    return LmBackend(Timed(model, machine), "target", clock=machine.clock, **options)


def drafting(kind: str = "equal", tokens: int = 4, **options: Any) -> DraftModel:
    """A draft model that takes no time."""
    return DraftModel(LmBackend(draft_model(kind), "draft", **options), tokens)


def begin(
    backend: LmBackend,
    row: int = 0,
    prompt: Sequence[int] = PROMPT,
    sampling: RowSampling = GREEDY,
    *,
    draft: DraftModel | None = None,
    generated: int = 0,
) -> None:
    backend.insert({row: sampling}, prompt, generated=generated, draft=draft)
    while backend.prefill([row], 5)[row]:
        pass


def steps(backend: LmBackend, count: int, row: int = 0) -> list[list[SampledToken]]:
    """The tokens of one row, step by step, until there are at least `count`."""
    collected: list[list[SampledToken]] = []
    while sum(len(step) for step in collected) < count:
        collected.append([sampled for sampled in backend.step() if sampled.row == row])
    return collected


def tokens(backend: LmBackend, count: int, row: int = 0) -> list[int]:
    return [sampled.token for step in steps(backend, count, row) for sampled in step][:count]


def undrafted(count: int, prompt: Sequence[int] = PROMPT, sampling: RowSampling = GREEDY) -> list[int]:
    """The tokens of a row without a draft model."""
    assert count <= LONGEST
    return decode(tuple(prompt), sampling)[:count]


@cache
def decode(prompt: tuple[int, ...], sampling: RowSampling) -> list[int]:
    backend = target()
    begin(backend, prompt=prompt, sampling=sampling)
    return tokens(backend, LONGEST)


@pytest.mark.parametrize("draft", ["equal", "similar", "another"])
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_the_tokens_are_those_without_drafts(sampling: RowSampling, draft: str) -> None:
    backend = target()
    begin(backend, sampling=sampling, draft=drafting(draft))
    assert tokens(backend, 40) == undrafted(40, sampling=sampling)


def test_the_tokens_are_those_without_drafts_in_a_quantised_cache() -> None:
    plain, drafted = target(kv_bits=8), target(kv_bits=8)
    begin(plain)
    begin(drafted, draft=drafting("similar", kv_bits=8))
    assert tokens(drafted, 40) == tokens(plain, 40)


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "temperature"])
def test_the_drafts_of_an_equal_model_are_always_accepted(sampling: RowSampling) -> None:
    backend = target()
    begin(backend, sampling=sampling, draft=drafting(tokens=4))
    # The first token is returned at once, and none by the next step. Steps without drafts measure the duration of a
    # step while the draft model computes the prompt. The token then in flight is returned by the next step.
    assert [len(step) for step in steps(backend, 24)] == [1, 0, 1, 1, 6, 5, 5, 5]


def test_the_drafts_of_a_similar_model_are_often_accepted_at_any_temperature() -> None:
    for sampling in (GREEDY, WARM):
        backend = target()
        begin(backend, sampling=sampling, draft=drafting("similar", tokens=1))
        assert len(steps(backend, 60)) < 45


class Counting:
    """A model and a draft model of a tenth of its size that count from 0 to 9 again and again.

    The draft model is wrong after every token that `wrong_after` divides. It has one token id more than the model.
    """

    def __init__(self, machine: Machine, wrong_after: int | None = None) -> None:
        self.machine = machine
        self.wrong_after = wrong_after
        self.fed: list[list[int]] = []
        self.row = Row(0, GREEDY, [], 0)
        self.batch = DecodeBatch([self.row], [], [1])

    def speculation(self, tokens: int = 4, *, step_seconds: float | None = None) -> Speculation:
        statistics = DraftStatistics(0.1, step_seconds=step_seconds)
        return Speculation(self, tokens, statistics=statistics, vocabulary=10, clock=self.machine.clock)

    def __call__(self, tokens: mx.array, cache: Any) -> mx.array:
        self.machine.run(tokens.shape[1])
        self.fed.append(ints(tokens[0]))
        return (mx.arange(10) == (tokens[..., None] + 1) % 10).astype(mx.float32)

    def logits(self, tokens: mx.array, cache: Any) -> mx.array:
        self.machine.run(tokens.size, share=0.1)
        following = (tokens[-1] + 1) % 10
        if self.wrong_after:
            following = mx.where(tokens[-1] % self.wrong_after == 0, (following + 5) % 10, following)
        ids = mx.arange(11)
        return (ids == following) + 2.0 * (ids == 10)

    def open_cache(self, tokens: Sequence[int]) -> tuple[Any, int]:
        return [], 0

    def keep_cache(self, tokens: Sequence[int], cache: Any, continuation_start: int) -> None:
        raise AssertionError("the cache is not kept")


def lengths(speculation: Speculation, models: Counting, count: int) -> list[int]:
    """The number of tokens of each of `count` steps."""
    return [len(speculation.step(models.batch, models)) for _ in range(count)]


@pytest.mark.parametrize(
    ("wrong_after", "width_time", "most"),
    [
        (None, 0.0, 0.3),
        (3, 0.0, 0.6),
        (1, 0.0, 1.05),
        (None, 0.2, 0.6),
        (3, 0.2, 0.8),
        (None, 1.0, 1.05),
        (3, 1.0, 1.07),
        (1, 1.0, 1.07),
    ],
)
def test_drafts_save_time_or_cost_little(wrong_after: int | None, width_time: float, most: float) -> None:
    models = Counting(Machine(width_time), wrong_after)
    speculation = models.speculation()
    while len(models.row.tokens) < 400:
        speculation.step(models.batch, models)
    assert models.machine.now / len(models.row.tokens) < most


def test_drafts_are_tried_again_after_a_pause() -> None:
    models = Counting(Machine(), wrong_after=1)
    speculation = models.speculation()
    assert sum(lengths(speculation, models, 100)[-50:]) == 50
    models.wrong_after = None
    assert lengths(speculation, models, 400)[-10:] == [5] * 10


def test_drafts_that_never_pay_are_tried_again_after_a_long_pause() -> None:
    models = Counting(Machine(width_time=1.0))
    speculation = models.speculation()
    lengths(speculation, models, 20)
    models.machine.width_time = 0.0
    assert lengths(speculation, models, 900) == [1] * 900
    assert lengths(speculation, models, 300)[-10:] == [5] * 10


def test_drafts_use_only_the_token_ids_of_the_row_s_model() -> None:
    models = Counting(Machine())
    assert lengths(models.speculation(2, step_seconds=1.0), models, 2) == [3, 3]
    assert models.fed == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("acceptance", "cost", "count"),
    [(1.0, 0.1, 8), (0.0, 0.1, 0), (0.5, 0.3, 1), (0.8, 0.1, 6), (0.95, 0.01, 8), (1.0, 1.1, 0)],
)
def test_the_number_of_draft_tokens_maximises_the_speed(acceptance: float, cost: float, count: int) -> None:
    assert DraftStatistics(cost, acceptance).best_count(8) == count


def test_drafts_after_a_rejected_one_are_not_measured() -> None:
    one, several = DraftStatistics(0.1, 0.5), DraftStatistics(0.1, 0.5)
    one.record_drafts(1, 0, 1.0)
    several.record_drafts(5, 0, 1.0)
    assert one == several == DraftStatistics(0.1, 0.45)


def test_the_cost_of_a_draft_is_measured_in_steps_without_drafts() -> None:
    statistics = DraftStatistics(0.1)
    statistics.record_step(2.0)
    for _ in range(10):
        statistics.record_drafts(4, 4, 6.0)
    assert statistics.cost == pytest.approx(0.5, abs=0.001)


def test_log_probabilities_are_those_without_drafts() -> None:
    sampling = SAMPLINGS["log-probabilities"]
    plain, drafted = target(), target()
    begin(plain, sampling=sampling)
    begin(drafted, sampling=sampling, draft=drafting("similar"))
    ours = [sampled for step in steps(drafted, 30) for sampled in step][:30]
    theirs = [sampled for step in steps(plain, 30) for sampled in step][:30]
    assert [[token for token, _ in sampled.top] for sampled in ours] == [
        [token for token, _ in sampled.top] for sampled in theirs
    ]
    assert [sampled.logprob for sampled in ours] == pytest.approx([sampled.logprob for sampled in theirs], abs=1e-4)


def logits_after(model: Any, cache: Any, token: int) -> mx.array:
    logits: mx.array = model(mx.array([[token]]), cache=cache)[0, -1]
    return logits


@pytest.mark.parametrize("draft", ["equal", "similar", "another"])
def test_the_caches_hold_only_accepted_tokens(draft: str) -> None:
    backend = target()
    helper = drafting(draft)
    begin(backend, draft=helper)
    answer = [sampled.token for step in steps(backend, 11) for sampled in step]
    (batch,), (speculation,) = backend._batches, backend._speculations.values()
    (row,) = batch.rows
    # A step with drafts has returned the next input already.
    assert [*PROMPT, *answer[:-1]] in (row.tokens, row.tokens[:-1])
    assert [layer.offset for layer in batch.cache] == [len(row.tokens)] * 2
    held = row.tokens[: speculation._cache_length]
    assert len(held) > len(PROMPT)
    assert [layer.offset for layer in speculation._cache or ()] == [len(held)] * 2
    for model, layers, known in (
        (large_model(), batch.cache, row.tokens),
        (draft_model(draft), speculation._cache, held),
    ):
        expected = model(mx.array([[*known, 7]]))[0, -1]
        assert mx.allclose(logits_after(model, layers, 7), expected, atol=1e-4)


def test_a_conversation_continues_after_an_answer_that_ended_among_draft_tokens() -> None:
    prefixes = PrefixCache(1 << 30, block=4, min_shared=2)
    backend = target(prefixes=prefixes.for_model("target"))
    helper = drafting(prefixes=prefixes.for_model("draft"))
    begin(backend, draft=helper)
    answer = [sampled.token for step in steps(backend, 9) for sampled in step]
    # The answer ends at its seventh token; the rest is dropped.
    backend.remove([0], keep=True)
    following = [*PROMPT, *answer[:7], 11, 12, 13]
    assert backend.match(following) == len(PROMPT) + 7
    assert helper.backend.match(following) == len(PROMPT) + 7
    begin(backend, 1, following, draft=helper)
    assert tokens(backend, 20, row=1) == undrafted(20, following)


def test_a_requeued_row_continues_with_the_same_tokens() -> None:
    backend = target()
    helper = drafting("similar")
    begin(backend, sampling=WARM, draft=helper)
    first = [sampled.token for step in steps(backend, 10) for sampled in step]
    backend.remove([0], keep=False)
    begin(backend, 1, [*PROMPT, *first], WARM, draft=helper, generated=len(first))
    assert first + tokens(backend, 15, row=1) == undrafted(len(first) + 15, sampling=WARM)


# Pairs of steps: the first row decodes alone, then together with a visitor.
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    stays=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=4),
    draft=st.sampled_from(["equal", "similar", "another"]),
    sampling=st.sampled_from([GREEDY, WARM]),
    keep=st.booleans(),
)
def test_other_rows_change_no_token(
    stays: list[tuple[int, int]], draft: str, sampling: RowSampling, keep: bool
) -> None:
    backend = target()
    begin(backend, sampling=sampling, draft=drafting(draft))
    collected: dict[int, list[int]] = {0: []}

    def step(count: int) -> None:
        for _ in range(count):
            for sampled in backend.step():
                collected[sampled.row].append(sampled.token)

    for visitor, (alone, together) in enumerate(stays, 1):
        step(alone)
        collected[visitor] = []
        begin(backend, visitor, [visitor, 8, 8], draft=drafting("similar"))
        step(together)
        backend.remove([visitor], keep=keep)
    step(3)
    expected = undrafted(len(collected[0]), sampling=sampling)
    assert collected.pop(0) == expected
    for visitor, own in collected.items():
        assert own == undrafted(len(own), [visitor, 8, 8])


def test_drafts_pause_while_several_rows_decode() -> None:
    backend = target()
    begin(backend, draft=drafting(tokens=4))
    assert len(steps(backend, 9)[-1]) == 6
    begin(backend, 1, [1, 2, 3])
    together = [[sampled.row for sampled in backend.step()] for _ in range(6)]
    assert together == [[1], [], *[[0, 1]] * 4]
    backend.remove([1], keep=False)
    assert [len(step) for step in steps(backend, 12)] == [1, 6, 5]


def test_the_draft_model_computes_a_long_prompt_in_chunks_while_the_row_decodes() -> None:
    prompt = [1 + (index * index) % 60 for index in range(1200)]
    backend = target()
    begin(backend, prompt=prompt, draft=drafting(tokens=4))
    collected = steps(backend, 16)
    # Steps that measure the duration of a step are followed by three with a chunk each.
    assert [len(step) for step in collected] == [1, 0, 1, 1, 1, 1, 6, 5]
    assert [sampled.token for step in collected for sampled in step] == undrafted(16, prompt)


def test_the_cache_of_the_draft_model_is_counted_until_the_row_is_removed() -> None:
    plain, drafted = target(), target()
    begin(plain)
    begin(drafted, draft=drafting())
    for backend in (plain, drafted):
        tokens(backend, 5)
    assert drafted.cache_nbytes == 2 * plain.cache_nbytes
    drafted.remove([0], keep=False)
    assert drafted.cache_nbytes == 0


@pytest.mark.parametrize("kind", [kind for kind in TINY_MODELS if kind != "full attention"])
def test_models_without_trimmable_caches_decode_without_drafts(kind: str) -> None:
    plain, drafted, helped = target(kind), target(kind), target()
    begin(plain)
    begin(drafted, draft=drafting())
    begin(helped, draft=DraftModel(LmBackend(tiny_model(kind), kind), 4))
    assert tokens(drafted, 20) == tokens(plain, 20)
    assert max(len(step) for step in steps(helped, 5)) == 1


def test_the_number_of_draft_tokens_has_an_internal_limit() -> None:
    backend = target()
    begin(backend, draft=drafting(tokens=2**63))
    assert tokens(backend, 40) == undrafted(40)


def test_zero_draft_tokens_turn_drafts_off() -> None:
    backend = target()
    begin(backend, draft=drafting(tokens=0))
    assert max(len(step) for step in steps(backend, 5)) == 1


def test_drafts_begin_when_a_single_row_remains() -> None:
    backend = target()
    rows = {number: replace(WARM, seed=number) for number in (0, 1)}
    backend.insert(rows, PROMPT, draft=drafting(tokens=4))
    while backend.prefill([0], 5)[0]:
        pass
    together = [sampled for _ in range(4) for sampled in backend.step()]
    backend.remove([1], keep=False)
    alone = [sampled.token for step in steps(backend, 12) for sampled in step]
    own = [sampled.token for sampled in together if sampled.row == 0] + alone
    assert own == undrafted(len(own), sampling=rows[0])


def test_the_repr_shows_the_acceptance() -> None:
    backend = target()
    begin(backend, draft=drafting(tokens=4))
    assert [repr(one) for one in backend._speculations.values()] == ["<Speculation [4 of 4 tokens | 80% accepted]>"]
