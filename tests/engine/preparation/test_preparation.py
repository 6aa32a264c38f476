"""Preparation turns requests into generations with resolved parameters, and refuses invalid requests."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest

from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.preparation.preparation import Preparation
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.errors import ContextLengthExceeded, InvalidRequest, ModelNotFound
from pico_jupyter.questions import DetokenizePrompt, TokenizePrompt
from pico_jupyter.types import (
    ChatPrompt,
    CompletionPrompt,
    EngineOptions,
    GenerationRequest,
    Message,
    Prompt,
    RawPrompt,
    SamplingParams,
    TextDelta,
    TextPart,
)
from tests.fakes.backend import ListSink

HELLO = ChatPrompt((Message("user", (TextPart("Hello"),)),))


@pytest.fixture(scope="module")
def preparation() -> Preparation:
    seeds = itertools.count(1000, 1000)
    return Preparation(
        Catalog(EngineOptions(), environ={}, hub_cache=None),
        EngineOptions(),
        new_seed=lambda: next(seeds),
        new_call_id=lambda: "call_1",
        clock=lambda: 7.0,
    )


def prepared(preparation: Preparation, prompt: Prompt = HELLO, **fields: object) -> Generation:
    request = GenerationRequest(id="r", model=str(fields.pop("model", "pico-tiny")), prompt=prompt, **fields)  # type: ignore[arg-type]  # any field
    return preparation.prepare(request, ListSink(), submitted=5.0)


def test_a_request_becomes_tokens_and_resolved_parameters(preparation: Preparation) -> None:
    made = prepared(preparation, max_tokens=9, sampling=SamplingParams(temperature=0.25, seed=3))
    assert (made.id, made.info.name, made.max_tokens) == ("r", "pico-tiny", 9)
    assert len(made.prompt) > 3
    assert made.times.submitted == 5.0
    (sequence,) = made.sequences
    assert (sequence.sampling.temperature, sequence.sampling.seed) == (0.25, 3)


def test_each_choice_has_the_next_seed(preparation: Preparation) -> None:
    made = prepared(preparation, n=3, sampling=SamplingParams(seed=40))
    assert [sequence.sampling.seed for sequence in made.sequences] == [40, 41, 42]
    assert [sequence.index for sequence in made.sequences] == [0, 1, 2]


def test_each_request_without_a_seed_gets_another_one(preparation: Preparation) -> None:
    seeds = [prepared(preparation).sequences[0].sampling.seed for _ in range(3)]
    assert len(set(seeds)) == 3


def test_the_fallback_seed_of_a_dialect_is_used(preparation: Preparation) -> None:
    made = prepared(preparation, fallback_sampling=SamplingParams(seed=9))
    assert made.sequences[0].sampling.seed == 9


def test_row_numbers_are_unique(preparation: Preparation) -> None:
    rows = [row for _ in range(3) for row in prepared(preparation, n=2).rows]
    assert len(set(rows)) == 6


@pytest.mark.parametrize(("asked", "kept"), [(None, 300.0), (0.0, 0.0), (12.0, 12.0)])
def test_the_keep_alive_of_a_request_precedes_the_default(
    preparation: Preparation, asked: float | None, kept: float
) -> None:
    assert prepared(preparation, keep_alive=asked).keep_alive == kept


def test_a_raw_prompt_is_not_rendered(preparation: Preparation) -> None:
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


@pytest.fixture(scope="module")
def model_dirs(tmp_path_factory: pytest.TempPathFactory, preparation: Preparation) -> tuple[str, ...]:
    """A folder with a model of the same tokens and one of other tokens."""
    source, folder = Path(preparation._catalog.find("pico-tiny").path), tmp_path_factory.mktemp("models")
    for name in ("small", "other"):
        shutil.copytree(source, folder / name)
    tokenizer = json.loads((folder / "other" / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    numbers = list(vocabulary.values())
    tokenizer["model"]["vocab"] = dict(zip(vocabulary, numbers[1:] + numbers[:1], strict=True))
    (folder / "other" / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return (str(folder),)


def drafting(model_dirs: tuple[str, ...], **draft_models: str) -> Preparation:
    drafts = {name.replace("_", "-"): draft for name, draft in draft_models.items()}
    options = EngineOptions(model_dirs=model_dirs, draft_models=drafts)
    return Preparation(
        Catalog(options, environ={}, hub_cache=None),
        options,
        new_seed=lambda: 1,
        new_call_id=lambda: "call_1",
        clock=lambda: 0.0,
    )


def drafts(made: Generation) -> tuple[str, int] | None:
    return (made.draft.name, made.draft_tokens) if made.draft else None


def test_there_is_no_draft_model_by_default(preparation: Preparation) -> None:
    assert drafts(prepared(preparation)) is None


def test_a_request_may_name_its_draft_model(model_dirs: tuple[str, ...]) -> None:
    made = prepared(drafting(model_dirs), draft_model="small", draft_tokens=7)
    assert drafts(made) == ("small", 7)


def test_a_configured_draft_model_proposes_four_tokens(model_dirs: tuple[str, ...]) -> None:
    assert drafts(prepared(drafting(model_dirs, pico_tiny="small"))) == ("small", 4)


@pytest.mark.parametrize("fields", [{"draft_tokens": 0}, {"n": 2}])
def test_there_is_no_draft_model_for_zero_draft_tokens_or_several_choices(
    model_dirs: tuple[str, ...], fields: dict[str, int]
) -> None:
    assert drafts(prepared(drafting(model_dirs, pico_tiny="small"), **fields)) is None


def test_an_unknown_draft_model_is_refused(preparation: Preparation) -> None:
    with pytest.raises(ModelNotFound) as caught:
        prepared(preparation, draft_model="missing")
    assert (caught.value.param, caught.value.model) == ("draft_model", "missing")


@pytest.mark.parametrize(
    ("draft", "words"), [("other", "their tokens differ"), ("pico-tiny", "cannot be its own draft model")]
)
def test_an_unsuitable_draft_model_is_refused(model_dirs: tuple[str, ...], draft: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        prepared(drafting(model_dirs), draft_model=draft)
    assert caught.value.param == "draft_model"


@pytest.mark.parametrize("draft", ["other", "missing"])
def test_an_unsuitable_configured_draft_model_is_logged_once(
    model_dirs: tuple[str, ...], draft: str, caplog: pytest.LogCaptureFixture
) -> None:
    preparation = drafting(model_dirs, pico_tiny=draft)
    assert [drafts(prepared(preparation)) for _ in range(2)] == [None, None]
    assert caplog.text.count("pico-tiny is used without a draft model") == 1


def test_a_generation_has_the_boundaries_of_its_prompt(preparation: Preparation) -> None:
    made = prepared(preparation)
    assert 0 < made.boundaries[-1] < len(made.prompt)


def test_a_load_is_a_generation_without_sequences(preparation: Preparation) -> None:
    made = preparation.prepare_load("pico-tiny", 5.0, ListSink())
    assert (made.max_tokens, made.sequences, made.keep_alive) == (0, [], 5.0)


def test_only_the_latest_tokenizers_are_cached(tmp_path: Path, preparation: Preparation) -> None:
    source = Path(preparation._catalog.find("pico-tiny").path)
    for number in range(6):
        folder = tmp_path / f"copy-{number}"
        folder.mkdir()
        for file in source.iterdir():
            (folder / file.name).symlink_to(file)
    options = EngineOptions(model_dirs=(str(tmp_path),))
    own = Preparation(
        Catalog(options, environ={}, hub_cache=None),
        options,
        new_seed=lambda: 1,
        new_call_id=lambda: "call_1",
        clock=lambda: 0.0,
    )
    for number in range(6):
        prepared(own, model=f"copy-{number}")
    assert repr(own) == "<Preparation [4 tokenizers]>"


def tokenize(preparation: Preparation, prompt: Prompt, **more: object) -> TokenizePrompt:
    return TokenizePrompt(GenerationRequest("r", "pico-tiny", prompt), **more)  # type: ignore[arg-type]  # any field


def test_a_prompt_is_tokenized_as_it_is_prepared(preparation: Preparation) -> None:
    found = preparation.tokenize(tokenize(preparation, HELLO, token_texts=True))
    assert list(found.tokens) == prepared(preparation).prompt
    assert "".join(found.token_texts) == found.text == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    assert found.context_length == 4096


def test_a_prompt_that_exceeds_the_context_is_tokenized_too(preparation: Preparation) -> None:
    found = preparation.tokenize(tokenize(preparation, CompletionPrompt("1 " * 5000)))
    assert len(found.tokens) > found.context_length
    assert found.token_texts == ()


def test_a_prompt_of_megabytes_is_not_tokenized(preparation: Preparation) -> None:
    with pytest.raises(ContextLengthExceeded):
        preparation.tokenize(tokenize(preparation, CompletionPrompt("word " * 400_000)))


def test_tokens_become_text_with_special_tokens(preparation: Preparation) -> None:
    tokens = prepared(preparation).prompt
    text = preparation.detokenize(DetokenizePrompt("pico-tiny", tuple(tokens)))
    assert text.startswith("<|im_start|>user\nHello")
    with pytest.raises(InvalidRequest) as caught:
        preparation.detokenize(DetokenizePrompt("pico-tiny", (10**6,)))
    assert caught.value.param == "tokens"


def test_tags_in_the_answer_to_a_completion_are_text(preparation: Preparation) -> None:
    (sequence,) = prepared(preparation, CompletionPrompt("12 + 35 =")).sequences
    tokens = preparation.tokenize(tokenize(preparation, CompletionPrompt("<think>hm</think>47"))).tokens
    deltas = [delta for token in tokens for delta in sequence.parser.push(token)] + [*sequence.parser.flush()]
    assert {type(delta) for delta in deltas} == {TextDelta}
    assert sequence.parser.reasoning_tokens == 0
