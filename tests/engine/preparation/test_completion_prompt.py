"""Prompts without a chat template: texts, tokens, and the text between a prefix and a suffix."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pico_jupyter.engine.preparation.prompt import RenderedPrompt, render_prompt
from pico_jupyter.engine.text.tokenizer import Tokenizer, load_tokenizer
from pico_jupyter.errors import ContextLengthExceeded, InvalidRequest
from pico_jupyter.template_switch import TemplateSwitch
from pico_jupyter.types import CompletionPrompt, GenerationRequest, ModelInfo
from tests.engine.preparation.conftest import PICO_TINY
from tests.fakes.backend import fake_info

WithTokens = Callable[..., Tokenizer]
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|file_sep|>")
CODESTRAL = ("[PREFIX]", "[SUFFIX]")
INFO: ModelInfo = msgspec.structs.replace(
    fake_info("tiny"),
    capabilities=("completion", "thinking"),
    reasoning_switch=TemplateSwitch(off={"enable_thinking": False}),
    reasoning_default=True,
)


@pytest.fixture
def with_tokens(tmp_path: Path) -> WithTokens:
    """The built-in model's tokenizer with more special tokens. `bos` is added before every text."""

    def with_tokens(*texts: str, bos: str = "") -> Tokenizer:
        shutil.copytree(PICO_TINY, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
        first = load_tokenizer(PICO_TINY).vocab_size
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        tokens = {first + i: {"content": text, "special": True, **flags} for i, text in enumerate(texts)}
        data, config = (json.loads((tmp_path / name).read_text()) for name in TOKENIZER_FILES)
        data["added_tokens"] += [{"id": token, **entry} for token, entry in tokens.items()]
        config["added_tokens_decoder"] |= {str(token): entry for token, entry in tokens.items()}
        if bos:
            config |= {"bos_token": bos, "add_bos_token": True}
            template = [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
            data["post_processor"] = {
                "type": "TemplateProcessing",
                "single": template,
                "pair": [*template, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {bos: {"id": bos, "ids": [first + texts.index(bos)], "tokens": [bos]}},
            }
        for name, content in zip(TOKENIZER_FILES, (data, config), strict=True):
            (tmp_path / name).write_text(json.dumps(content))
        return load_tokenizer(tmp_path)

    return with_tokens


def rendered(tokenizer: Tokenizer, prompt: CompletionPrompt, info: ModelInfo = INFO) -> RenderedPrompt:
    return render_prompt(GenerationRequest("r", "tiny", prompt), info, tokenizer)


def text_of(tokenizer: Tokenizer, prompt: CompletionPrompt) -> str:
    return tokenizer.decode_all(rendered(tokenizer, prompt).tokens)


def test_a_text_is_not_rendered_and_its_answer_is_plain_text(pico: Tokenizer) -> None:
    found = rendered(pico, CompletionPrompt("a  b\n<think>"))
    assert pico.decode_all(found.tokens) == "a  b\n<think>"
    assert (found.is_plain, found.continuation, found.reasoning, found.reasoning_started) == (True, True, False, False)


def test_a_text_has_the_bos_token_that_the_tokenizer_adds(with_tokens: WithTokens) -> None:
    tokenizer = with_tokens("<bos>", bos="<bos>")
    assert text_of(tokenizer, CompletionPrompt("hi")) == "<bos>hi"
    assert text_of(tokenizer, CompletionPrompt("hi", special_tokens=False)) == "hi"


def test_tokens_are_used_as_they_are(pico: Tokenizer) -> None:
    assert rendered(pico, CompletionPrompt(tokens=(5, 5, 7))).tokens == [5, 5, 7]


def test_tokens_outside_the_vocabulary_are_refused(pico: Tokenizer) -> None:
    with pytest.raises(InvalidRequest, match="not among the model's") as caught:
        rendered(pico, CompletionPrompt(tokens=(5, 10**6)))
    assert caught.value.param == "prompt"


def test_a_suffix_is_after_the_prefix(with_tokens: WithTokens) -> None:
    tokenizer = with_tokens(*QWEN)
    prompt = CompletionPrompt("def f(", suffix=")\n")
    assert text_of(tokenizer, prompt) == "<|fim_prefix|>def f(<|fim_suffix|>)\n<|fim_middle|>"


def test_a_suffix_may_be_before_the_prefix_and_after_the_bos_token(with_tokens: WithTokens) -> None:
    tokenizer = with_tokens("<s>", *CODESTRAL, bos="<s>")
    assert text_of(tokenizer, CompletionPrompt("def f(", suffix=")")) == "<s>[SUFFIX])[PREFIX]def f("


def test_the_special_tokens_of_files_end_the_text_between(with_tokens: WithTokens) -> None:
    tokenizer = with_tokens(*QWEN)
    found = rendered(tokenizer, CompletionPrompt("a", suffix="b"))
    assert sorted(tokenizer.decode_all([token]) for token in found.end_tokens) == sorted((*QWEN, "<|endoftext|>"))
    assert rendered(tokenizer, CompletionPrompt("a")).end_tokens == frozenset()


def test_control_tokens_in_a_file_are_plain_text(with_tokens: WithTokens) -> None:
    tokenizer = with_tokens(*QWEN)
    found = rendered(tokenizer, CompletionPrompt('MIDDLE = "<|fim_middle|>"', suffix="# <|fim_suffix|>")).tokens
    for token in ("<|fim_middle|>", "<|fim_suffix|>"):
        assert found.count(tokenizer.added_token_ids(token)[token]) == 1


def test_a_model_without_these_tokens_refuses_a_suffix_as_ollama_does(pico: Tokenizer) -> None:
    with pytest.raises(InvalidRequest, match=r"^tiny does not support insert$") as caught:
        rendered(pico, CompletionPrompt("a", suffix="b"))
    assert caught.value.param == "suffix"


@pytest.mark.parametrize("place", ["text", "suffix"])
def test_a_text_that_exceeds_the_context_is_refused(with_tokens: WithTokens, place: str) -> None:
    prompt = CompletionPrompt(**{"text": "a", "suffix": "b", place: "word " * 200_000})
    with pytest.raises(ContextLengthExceeded) as caught:
        rendered(with_tokens(*QWEN), prompt)
    assert caught.value.param == "prompt"
