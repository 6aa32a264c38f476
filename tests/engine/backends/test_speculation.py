"""Drafted tokens, checked: the text without drafts is the oracle, and so are the caches after it."""

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

from pico_jupyter.engine.backend import Drafting, Draw, RowSampling
from pico_jupyter.engine.backends.batch import Batch, Row, ints
from pico_jupyter.engine.backends.lm import LmBackend
from pico_jupyter.engine.backends.speculation import Prospect, Speculation
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
    """The same function as the tiny model, with many times the weights: those it has more are zero."""
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
    """A draft model that is always right, one that is sometimes, or one that hardly ever is."""
    if kind == "right":
        return tiny_model("full attention")
    if kind == "another":
        return full_attention(seed=99)
    model = full_attention()
    model.lm_head.weight = model.lm_head.weight + 0.15 * mx.random.normal(
        model.lm_head.weight.shape, key=mx.random.key(4)
    )
    return model


class Machine:
    """Counts the time that models take; it passes when a model is called, and at no other time.

    A pass of a large model takes 1, and `width_time` more for each token beyond the first.
    """

    def __init__(self, width_time: float = 0.0) -> None:
        self.width_time = width_time
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def run(self, width: int, share: float = 1.0) -> None:
        self.now += share * (1 + (width - 1) * self.width_time)


class Timed:
    """A model that takes its time."""

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
    """On a machine where a wide pass takes no longer than a narrow one."""
    machine = Machine()
    model = large_model() if kind == "large" else tiny_model(kind)
    return LmBackend(Timed(model, machine), "target", clock=machine.clock, **options)


def drafting(kind: str = "right", tokens: int = 4, **options: Any) -> Drafting:
    """Drafts that take no time."""
    return Drafting(LmBackend(draft_model(kind), "draft", **options), tokens)


def begin(
    backend: LmBackend,
    row: int = 0,
    prompt: Sequence[int] = PROMPT,
    sampling: RowSampling = GREEDY,
    *,
    drafting: Drafting | None = None,
    drawn: int = 0,
) -> None:
    backend.insert({row: sampling}, prompt, drawn=drawn, drafting=drafting)
    while backend.prefill([row], 5)[row]:
        pass


def steps(backend: LmBackend, count: int, row: int = 0) -> list[list[Draw]]:
    """The draws of one row in each of its steps, until there are `count`; the last step's are given whole."""
    taken: list[list[Draw]] = []
    while sum(len(draws) for draws in taken) < count:
        taken.append([draw for draw in backend.step() if draw.row == row])
    return taken


def tokens(backend: LmBackend, count: int, row: int = 0) -> list[int]:
    return [draw.token for draws in steps(backend, count, row) for draw in draws][:count]


def undrafted(count: int, prompt: Sequence[int] = PROMPT, sampling: RowSampling = GREEDY) -> list[int]:
    """What the row would say without drafts."""
    assert count <= LONGEST
    return decode(tuple(prompt), sampling)[:count]


@cache
def decode(prompt: tuple[int, ...], sampling: RowSampling) -> list[int]:
    backend = target()
    begin(backend, prompt=prompt, sampling=sampling)
    return tokens(backend, LONGEST)


@pytest.mark.parametrize("draft", ["right", "similar", "another"])
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_the_tokens_are_those_without_drafts(sampling: RowSampling, draft: str) -> None:
    backend = target()
    begin(backend, sampling=sampling, drafting=drafting(draft))
    assert tokens(backend, 40) == undrafted(40, sampling=sampling)


def test_the_tokens_are_those_without_drafts_in_a_quantised_cache() -> None:
    plain, drafted = target(kv_bits=8), target(kv_bits=8)
    begin(plain)
    begin(drafted, drafting=drafting("similar", kv_bits=8))
    assert tokens(drafted, 40) == tokens(plain, 40)


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "temperature"])
def test_a_model_that_drafts_for_its_like_is_always_right(sampling: RowSampling) -> None:
    backend = target()
    begin(backend, sampling=sampling, drafting=drafting(tokens=4))
    # The first token comes at once, and so none with the next step. Steps without drafts show how long one takes and
    # give the draft model time to take in the prompt; the token that is then under way is news to the next one.
    assert [len(draws) for draws in steps(backend, 24)] == [1, 0, 1, 1, 6, 5, 5, 5]


def test_a_similar_model_is_often_right_at_any_temperature() -> None:
    for sampling in (GREEDY, WARM):
        backend = target()
        begin(backend, sampling=sampling, drafting=drafting("similar", tokens=1))
        assert len(steps(backend, 60)) < 45


class Counting:
    """A pair of models that count to ten and begin again; the draft model, of a tenth of the size, errs at times.

    It is wrong after every `wrong_after`-th token; its largest token id is one that the large model does not have.
    """

    def __init__(self, machine: Machine, wrong_after: int | None = None) -> None:
        self.machine = machine
        self.wrong_after = wrong_after
        self.fed: list[list[int]] = []
        self.row = Row(0, GREEDY, [], 0)
        self.batch = Batch([self.row], [], [1])

    def speculation(self, tokens: int = 4, *, plain: float | None = None) -> Speculation:
        prospect = Prospect(0.1, plain=plain)
        return Speculation(self, tokens, prospect=prospect, vocabulary=10, clock=self.machine.clock)

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

    def keep_cache(self, tokens: Sequence[int], cache: Any, turn: int) -> None:
        raise AssertionError("nobody asked to keep it")


def lengths(speculation: Speculation, models: Counting, count: int) -> list[int]:
    """How many tokens each of some steps gave."""
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
def test_drafts_save_time_where_they_can_and_cost_little_where_they_cannot(
    wrong_after: int | None, width_time: float, most: float
) -> None:
    models = Counting(Machine(width_time), wrong_after)
    speculation = models.speculation()
    while len(models.row.tokens) < 400:
        speculation.step(models.batch, models)
    assert models.machine.now / len(models.row.tokens) < most


def test_drafts_that_were_not_worth_it_are_tried_again() -> None:
    models = Counting(Machine(), wrong_after=1)
    speculation = models.speculation()
    assert sum(lengths(speculation, models, 100)[-50:]) == 50
    models.wrong_after = None
    assert lengths(speculation, models, 400)[-10:] == [5] * 10


def test_where_not_even_right_drafts_pay_they_are_tried_again_much_later() -> None:
    models = Counting(Machine(width_time=1.0))
    speculation = models.speculation()
    lengths(speculation, models, 20)
    models.machine.width_time = 0.0
    assert lengths(speculation, models, 900) == [1] * 900
    assert lengths(speculation, models, 300)[-10:] == [5] * 10


def test_a_draft_model_with_more_token_ids_drafts_those_that_its_target_has() -> None:
    models = Counting(Machine())
    assert lengths(models.speculation(2, plain=1.0), models, 2) == [3, 3]
    assert models.fed == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("chance", "cost", "count"),
    [(1.0, 0.1, 8), (0.0, 0.1, 0), (0.5, 0.3, 1), (0.8, 0.1, 6), (0.95, 0.01, 8), (1.0, 1.1, 0)],
)
def test_as_many_tokens_are_drafted_as_pay_off(chance: float, cost: float, count: int) -> None:
    assert Prospect(cost, chance).best_count(8) == count


def test_drafts_after_a_wrong_one_tell_nothing_about_the_chance() -> None:
    one, several = Prospect(0.1, 0.5), Prospect(0.1, 0.5)
    one.note_drafts(1, 0, 1.0)
    several.note_drafts(5, 0, 1.0)
    assert one == several == Prospect(0.1, 0.45)


def test_what_a_draft_costs_is_measured_in_steps_without_drafts() -> None:
    prospect = Prospect(0.1)
    prospect.note_plain(2.0)
    for _ in range(10):
        prospect.note_drafts(4, 4, 6.0)
    assert prospect.cost == pytest.approx(0.5, abs=0.001)


def test_log_probabilities_are_those_without_drafts() -> None:
    sampling = SAMPLINGS["log-probabilities"]
    plain, drafted = target(), target()
    begin(plain, sampling=sampling)
    begin(drafted, sampling=sampling, drafting=drafting("similar"))
    ours = [draw for draws in steps(drafted, 30) for draw in draws][:30]
    theirs = [draw for draws in steps(plain, 30) for draw in draws][:30]
    assert [[token for token, _ in draw.top] for draw in ours] == [[token for token, _ in draw.top] for draw in theirs]
    assert [draw.logprob for draw in ours] == pytest.approx([draw.logprob for draw in theirs], abs=1e-4)


def logits_after(model: Any, cache: Any, token: int) -> mx.array:
    logits: mx.array = model(mx.array([[token]]), cache=cache)[0, -1]
    return logits


@pytest.mark.parametrize("draft", ["right", "similar", "another"])
def test_the_caches_hold_what_was_right_and_nothing_else(draft: str) -> None:
    backend = target()
    helper = drafting(draft)
    begin(backend, drafting=helper)
    answer = [draw.token for draws in steps(backend, 11) for draw in draws]
    (batch,), (speculation,) = backend._batches, backend._speculations.values()
    (row,) = batch.rows
    # After a step with drafts the token to be taken in next was given out already.
    assert [*PROMPT, *answer[:-1]] in (row.tokens, row.tokens[:-1])
    assert [layer.offset for layer in batch.cache] == [len(row.tokens)] * 2
    held = row.tokens[: speculation._held]
    assert len(held) > len(PROMPT)
    assert [layer.offset for layer in speculation._cache or ()] == [len(held)] * 2
    for model, layers, known in (
        (large_model(), batch.cache, row.tokens),
        (draft_model(draft), speculation._cache, held),
    ):
        expected = model(mx.array([[*known, 7]]))[0, -1]
        assert mx.allclose(logits_after(model, layers, 7), expected, atol=1e-4)


def test_a_conversation_goes_on_where_an_answer_ended_among_accepted_tokens() -> None:
    prefixes = PrefixCache(1 << 30, block=4, least=2)
    backend = target(prefixes=prefixes.of("target"))
    helper = drafting(prefixes=prefixes.of("draft"))
    begin(backend, drafting=helper)
    answer = [draw.token for draws in steps(backend, 9) for draw in draws]
    # The answer ends at its seventh token, whatever was accepted after it.
    backend.remove([0], keep=True)
    following = [*PROMPT, *answer[:7], 11, 12, 13]
    assert backend.match(following) == len(PROMPT) + 7
    assert helper.backend.match(following) == len(PROMPT) + 7
    begin(backend, 1, following, drafting=helper)
    assert tokens(backend, 20, row=1) == undrafted(20, following)


def test_a_row_that_was_removed_goes_on_with_the_tokens_it_would_have_drawn() -> None:
    backend = target()
    helper = drafting("similar")
    begin(backend, sampling=WARM, drafting=helper)
    first = [draw.token for draws in steps(backend, 10) for draw in draws]
    backend.remove([0], keep=False)
    begin(backend, 1, [*PROMPT, *first], WARM, drafting=helper, drawn=len(first))
    assert first + tokens(backend, 15, row=1) == undrafted(len(first) + 15, sampling=WARM)


# Lengths of stays: the first row decodes alone, then so many steps in company, and so on.
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    stays=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=4),
    draft=st.sampled_from(["right", "similar", "another"]),
    sampling=st.sampled_from([GREEDY, WARM]),
    keep=st.booleans(),
)
def test_company_that_comes_and_goes_changes_no_token(
    stays: list[tuple[int, int]], draft: str, sampling: RowSampling, keep: bool
) -> None:
    backend = target()
    begin(backend, sampling=sampling, drafting=drafting(draft))
    given_out: dict[int, list[int]] = {0: []}

    def step(count: int) -> None:
        for _ in range(count):
            for draw in backend.step():
                given_out[draw.row].append(draw.token)

    for visitor, (alone, together) in enumerate(stays, 1):
        step(alone)
        given_out[visitor] = []
        begin(backend, visitor, [visitor, 8, 8], drafting=drafting("similar"))
        step(together)
        backend.remove([visitor], keep=keep)
    step(3)
    expected = undrafted(len(given_out[0]), sampling=sampling)
    assert given_out.pop(0) == expected
    for visitor, own in given_out.items():
        assert own == undrafted(len(own), [visitor, 8, 8])


def test_drafting_pauses_in_company_and_goes_on_afterwards() -> None:
    backend = target()
    begin(backend, drafting=drafting(tokens=4))
    assert len(steps(backend, 9)[-1]) == 6
    begin(backend, 1, [1, 2, 3])
    together = [[draw.row for draw in backend.step()] for _ in range(6)]
    assert together == [[1], [], *[[0, 1]] * 4]
    backend.remove([1], keep=False)
    assert [len(draws) for draws in steps(backend, 12)] == [1, 6, 5]


def test_a_long_prompt_reaches_the_draft_model_in_chunks_while_the_row_decodes() -> None:
    prompt = [1 + (index * index) % 60 for index in range(1200)]
    backend = target()
    begin(backend, prompt=prompt, drafting=drafting(tokens=4))
    taken = steps(backend, 16)
    # After those that show how long a step takes, three go by with a chunk each.
    assert [len(draws) for draws in taken] == [1, 0, 1, 1, 1, 1, 6, 5]
    assert [draw.token for draws in taken for draw in draws] == undrafted(16, prompt)


def test_the_draft_models_cache_is_counted_until_the_row_leaves() -> None:
    plain, drafted = target(), target()
    begin(plain)
    begin(drafted, drafting=drafting())
    for backend in (plain, drafted):
        tokens(backend, 5)
    assert drafted.cache_nbytes == 2 * plain.cache_nbytes
    drafted.remove([0], keep=False)
    assert drafted.cache_nbytes == 0


@pytest.mark.parametrize("kind", [kind for kind in TINY_MODELS if kind != "full attention"])
def test_models_whose_caches_cannot_be_cut_decode_without_drafts(kind: str) -> None:
    plain, drafted, helped = target(kind), target(kind), target()
    begin(plain)
    begin(drafted, drafting=drafting())
    begin(helped, drafting=Drafting(LmBackend(tiny_model(kind), kind), 4))
    assert tokens(drafted, 20) == tokens(plain, 20)
    assert max(len(draws) for draws in steps(helped, 5)) == 1


def test_no_number_of_drafted_tokens_is_too_large() -> None:
    backend = target()
    begin(backend, drafting=drafting(tokens=2**63))
    assert tokens(backend, 40) == undrafted(40)


def test_zero_drafted_tokens_are_none() -> None:
    backend = target()
    begin(backend, drafting=drafting(tokens=0))
    assert max(len(draws) for draws in steps(backend, 5)) == 1


def test_several_rows_of_one_prompt_are_drafted_for_once_one_is_left() -> None:
    backend = target()
    rows = {number: replace(WARM, seed=number) for number in (0, 1)}
    backend.insert(rows, PROMPT, drafting=drafting(tokens=4))
    while backend.prefill([0], 5)[0]:
        pass
    together = [draw for _ in range(4) for draw in backend.step()]
    backend.remove([1], keep=False)
    alone = [draw.token for draws in steps(backend, 12) for draw in draws]
    own = [draw.token for draw in together if draw.row == 0] + alone
    assert own == undrafted(len(own), sampling=rows[0])


def test_a_speculation_shows_how_it_fares() -> None:
    backend = target()
    begin(backend, drafting=drafting(tokens=4))
    assert [repr(one) for one in backend._speculations.values()] == ["<Speculation [4 of 4 tokens | 80% right]>"]
