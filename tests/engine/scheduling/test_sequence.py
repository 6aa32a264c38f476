"""The choice of sampling parameters, and the effect of a sampled token."""

from __future__ import annotations

import pytest

from pico_jupyter.engine.backend import RowSampling, SampledToken
from pico_jupyter.engine.scheduling.sequence import Generation, Sequence, Timestamps, resolve_sampling
from pico_jupyter.types import FinishReason, SamplingParams
from tests.fakes.backend import FAKE_EOS, FakeParser, FakeVocabulary, ListSink, fake_info

NOTHING = SamplingParams()


def resolve(
    request: SamplingParams = NOTHING, model: SamplingParams = NOTHING, fallback: SamplingParams = NOTHING
) -> RowSampling:
    return resolve_sampling(request, model, fallback, seed=1, top_logprobs=None)


def generation(parser: FakeParser, max_tokens: int = 3) -> tuple[Generation, Sequence, ListSink]:
    sink = ListSink()
    sequence = Sequence(1, 0, RowSampling(), parser)
    made = Generation(
        id="g",
        info=fake_info(),
        prompt=[1, 2],
        max_tokens=max_tokens,
        reasoning=False,
        sequences=[sequence],
        vocabulary=FakeVocabulary(),
        keep_alive=0.0,
        sink=sink,
        times=Timestamps(0.0),
    )
    return made, sequence, sink


def test_the_request_overrides_the_model_and_the_model_the_dialect() -> None:
    fallback = SamplingParams(temperature=0.8, top_p=0.9, top_k=40)
    resolved = resolve(SamplingParams(temperature=0.1), SamplingParams(temperature=0.6, top_p=0.5), fallback)
    assert (resolved.temperature, resolved.top_p, resolved.top_k) == (0.1, 0.5, 40)


def test_zero_is_a_value() -> None:
    fallback = SamplingParams(temperature=0.8, top_k=40, min_p=0.1)
    resolved = resolve(SamplingParams(temperature=0.0, top_k=0, min_p=0.0), fallback=fallback)
    assert (resolved.temperature, resolved.top_k, resolved.min_p) == (0.0, 0, 0.0)


def test_without_any_parameter_nothing_is_filtered() -> None:
    assert resolve() == RowSampling(temperature=1.0, seed=1)


def test_top_p_zero_is_greedy() -> None:
    assert resolve(SamplingParams(top_p=0.0, temperature=1.5)).temperature == 0.0


def test_a_negative_top_k_is_off() -> None:
    assert resolve(SamplingParams(top_k=-1)).top_k == 0


def test_a_negative_context_size_is_the_whole_context() -> None:
    assert resolve(SamplingParams(repetition_context_size=-1)).repetition_context_size >= 1_000_000


def test_a_context_size_above_any_context_is_the_whole_context() -> None:
    whole = resolve(SamplingParams(presence_context_size=-1)).presence_context_size
    assert resolve(SamplingParams(presence_context_size=2**62)).presence_context_size == whole


def test_the_logit_bias_is_in_the_order_of_its_tokens() -> None:
    assert resolve(SamplingParams(logit_bias={7: 1.0, 3: -2.0})).logit_bias == ((3, -2.0), (7, 1.0))


@pytest.mark.parametrize(
    ("token", "parser", "reason"),
    [
        (FAKE_EOS, FakeParser(), "stop"),
        (9, FakeParser(stop_at=9), "stop"),
        (FAKE_EOS, FakeParser(has_tool_calls=True), "tool_calls"),
        (5, FakeParser(), None),
    ],
)
def test_a_token_ends_its_sequence_for_one_reason(token: int, parser: FakeParser, reason: FinishReason | None) -> None:
    made, sequence, _ = generation(parser)
    made.append(sequence, SampledToken(1, token))
    assert sequence.finish_reason == reason
    assert made.open_sequences == ([] if reason else [sequence])


def test_a_further_end_token_of_the_request_ends_its_sequence() -> None:
    made, sequence, sink = generation(FakeParser())
    made.end_tokens = frozenset({7})
    made.append(sequence, SampledToken(1, 7))
    assert (sequence.finish_reason, sink.text) == ("stop", "")


def test_the_token_limit_is_length_even_with_tool_calls() -> None:
    made, sequence, sink = generation(FakeParser(has_tool_calls=True), max_tokens=1)
    made.append(sequence, SampledToken(1, 5))
    assert sequence.finish_reason == "length"
    assert sink.text == "5 "


def test_the_end_token_counts_as_a_completion_token() -> None:
    made, sequence, _ = generation(FakeParser())
    made.append(sequence, SampledToken(1, FAKE_EOS))
    assert made.usage.completion_tokens == 1


def test_timings_of_a_model_that_was_resident_have_no_load() -> None:
    timings = Timestamps(submitted=1.0, prefill_started=2.0, first_token=4.0).timings(7.0)
    assert (timings.total_ns, timings.load_ns) == (6_000_000_000, 0)
    assert (timings.prefill_ns, timings.decode_ns) == (2_000_000_000, 3_000_000_000)


def test_timings_never_sum_to_more_than_the_total() -> None:
    timings = Timestamps(0.1, 0.1, 0.3, 0.3, 0.7).timings(0.9)
    assert timings.total_ns >= timings.load_ns + timings.prefill_ns + timings.decode_ns


def test_the_repr_shows_the_phase_and_the_tokens() -> None:
    made, _, _ = generation(FakeParser())
    assert repr(made) == "<Generation g queue [2 prompt | 0 generated]>"
