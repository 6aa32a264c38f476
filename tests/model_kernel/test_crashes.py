"""What happens to a request after the kernel crashed while it ran."""

from __future__ import annotations

import pytest

from pico_jupyter.model_kernel.crashes import REFUSAL_SECONDS, Fate, Refusals, fate_after_crash, with_seed
from pico_jupyter.types import GenerationRequest, RawPrompt, SamplingParams
from tests.fakes.backend import FakeClock

REQUEST = GenerationRequest(id="a", model="tiny", prompt=RawPrompt("hi"))


@pytest.mark.parametrize(
    ("crashes", "is_alone", "has_progress", "fate"),
    [
        (1, True, False, "continue"),
        (1, False, False, "continue"),
        (2, True, True, "continue"),
        (2, True, False, "end"),
        (2, False, False, "isolate"),
        (2, False, True, "isolate"),
        (3, False, True, "end"),
        (3, True, True, "end"),
    ],
)
def test_the_fate_of_a_request(crashes: int, is_alone: bool, has_progress: bool, fate: Fate) -> None:
    assert fate_after_crash(crashes, is_alone=is_alone, has_progress=has_progress) == fate


def test_a_request_at_fault_is_refused_for_some_minutes_whatever_its_id_and_seed() -> None:
    refusals = Refusals(clock := FakeClock())
    assert refusals.of(REQUEST) is None
    assert "refused for 5 min" in refusals.add(with_seed(REQUEST)).message
    same = with_seed(GenerationRequest(id="b", model="tiny", prompt=RawPrompt("hi")))
    assert refusals.of(same) is not None
    assert refusals.of(GenerationRequest(id="c", model="tiny", prompt=RawPrompt("other"))) is None
    clock.advance(REFUSAL_SECONDS)
    assert refusals.of(same) is None


def test_a_seed_is_chosen_only_if_the_request_has_none() -> None:
    assert with_seed(REQUEST).fallback_sampling.seed is not None
    seeded = GenerationRequest(id="a", model="tiny", prompt=RawPrompt("hi"), sampling=SamplingParams(seed=7))
    assert with_seed(seeded) == seeded
