"""Requests on their way to being generations: what is refused, and what is decided."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from pico_jupyter.engine.catalog import Catalog
from pico_jupyter.engine.preparation import Preparation
from pico_jupyter.engine.sequence import Generation
from pico_jupyter.errors import ContextLengthExceeded, InvalidRequest, ModelNotFound
from pico_jupyter.types import (
    ChatPrompt,
    EngineOptions,
    GenerationRequest,
    Message,
    Prompt,
    RawPrompt,
    SamplingParams,
    TextPart,
)
from tests.fakes import ListSink

HELLO = ChatPrompt((Message("user", (TextPart("Hello"),)),))


@pytest.fixture(scope="module")
def preparation() -> Preparation:
    seeds = itertools.count(1000, 1000)
    return Preparation(
        Catalog(EngineOptions(), environ={}, hub_cache=None),
        keep_alive=300.0,
        new_seed=lambda: next(seeds),
        new_call_id=lambda: "call_1",
        clock=lambda: 7.0,
    )


def prepared(preparation: Preparation, prompt: Prompt = HELLO, **fields: object) -> Generation:
    request = GenerationRequest(id="r", model=str(fields.pop("model", "pico-tiny")), prompt=prompt, **fields)  # type: ignore[arg-type]  # any field
    return preparation.generation(request, ListSink(), submitted=5.0)


def test_a_request_becomes_tokens_and_decided_parameters(preparation: Preparation) -> None:
    made = prepared(preparation, max_tokens=9, sampling=SamplingParams(temperature=0.25, seed=3))
    assert (made.id, made.info.name, made.max_tokens) == ("r", "pico-tiny", 9)
    assert len(made.prompt) > 3
    assert made.marks.submitted == 5.0
    (sequence,) = made.sequences
    assert (sequence.sampling.temperature, sequence.sampling.seed) == (0.25, 3)


def test_the_i_th_choice_has_the_i_th_seed(preparation: Preparation) -> None:
    made = prepared(preparation, n=3, sampling=SamplingParams(seed=40))
    assert [sequence.sampling.seed for sequence in made.sequences] == [40, 41, 42]
    assert [sequence.index for sequence in made.sequences] == [0, 1, 2]


def test_without_a_seed_each_request_has_its_own(preparation: Preparation) -> None:
    seeds = [prepared(preparation).sequences[0].sampling.seed for _ in range(3)]
    assert len(set(seeds)) == 3


def test_a_dialect_s_seed_is_the_last_resort(preparation: Preparation) -> None:
    made = prepared(preparation, fallback_sampling=SamplingParams(seed=9))
    assert made.sequences[0].sampling.seed == 9


def test_rows_are_never_numbered_twice(preparation: Preparation) -> None:
    rows = [row for _ in range(3) for row in prepared(preparation, n=2).rows]
    assert len(set(rows)) == 6


@pytest.mark.parametrize(("asked", "kept"), [(None, 300.0), (0.0, 0.0), (12.0, 12.0)])
def test_the_request_s_keep_alive_wins_over_the_default(
    preparation: Preparation, asked: float | None, kept: float
) -> None:
    assert prepared(preparation, keep_alive=asked).keep_alive == kept


def test_a_raw_prompt_goes_to_the_model_verbatim(preparation: Preparation) -> None:
    raw, chat = prepared(preparation, RawPrompt("Hello")), prepared(preparation)
    assert len(raw.prompt) < len(chat.prompt)


def test_an_unknown_model_is_refused(preparation: Preparation) -> None:
    with pytest.raises(ModelNotFound, match="no-such-model"):
        prepared(preparation, model="no-such-model")


def test_a_prompt_that_does_not_fit_is_refused(preparation: Preparation) -> None:
    with pytest.raises(ContextLengthExceeded):
        prepared(preparation, RawPrompt("word " * 100_000))


def test_an_empty_prompt_is_refused(preparation: Preparation) -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        prepared(preparation, RawPrompt(""))


@pytest.mark.parametrize("token", [-1, 10_000_000])
def test_a_bias_on_a_token_that_does_not_exist_is_refused(preparation: Preparation, token: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        prepared(preparation, sampling=SamplingParams(logit_bias={token: 1.0}))
    assert caught.value.param == "logit_bias"


def test_loading_is_a_generation_that_generates_nothing(preparation: Preparation) -> None:
    made = preparation.loading("pico-tiny", 5.0, ListSink())
    assert (made.max_tokens, made.sequences, made.keep_alive) == (0, [], 5.0)


def test_only_the_latest_tokenizers_are_kept(tmp_path: Path, preparation: Preparation) -> None:
    source = Path(preparation._catalog.find("pico-tiny").path)
    for number in range(6):
        folder = tmp_path / f"copy-{number}"
        folder.mkdir()
        for file in source.iterdir():
            (folder / file.name).symlink_to(file)
    own = Preparation(
        Catalog(EngineOptions(model_dirs=(str(tmp_path),)), environ={}, hub_cache=None),
        keep_alive=1.0,
        new_seed=lambda: 1,
        new_call_id=lambda: "call_1",
        clock=lambda: 0.0,
    )
    for number in range(6):
        prepared(own, model=f"copy-{number}")
    assert repr(own) == "<Preparation [4 tokenizers]>"
