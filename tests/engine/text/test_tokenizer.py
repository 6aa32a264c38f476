from __future__ import annotations

import json
import shutil
import socket
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as RawTokenizer

import pico_jupyter
from pico_jupyter.engine.text.output_parser import OutputParser
from pico_jupyter.engine.text.tokenizer import Tokenizer, load_tokenizer
from pico_jupyter.errors import ModelLoadFailed, TemplateFailed
from pico_jupyter.types import TextDelta

PICO_TINY = Path(pico_jupyter.__file__).parent / "builtin" / "pico-tiny"
TEXTS = ["", "Hello, world", " leading", "a  b\n\nc", "😀 é 東京 👩‍👩‍👧", "12 + 35 = 47"]
SPECIALS = ["<unk>", "<s>", "</s>"]

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def pico() -> Tokenizer:
    return load_tokenizer(PICO_TINY)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(raw: RawTokenizer, *, generation: dict[str, object] | None = None, **config: object) -> Path:
        raw.save(str(tmp_path / "tokenizer.json"))
        whole = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **config}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(whole))
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
        if generation is not None:
            (tmp_path / "generation_config.json").write_text(json.dumps(generation))
        return tmp_path

    return save


def sentencepiece(*, strip: bool = True) -> RawTokenizer:
    """A vocabulary converted from sentencepiece: "▁" for spaces, a token for each byte, no byte alphabet."""
    pieces = [
        *SPECIALS,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        "H",
        "e",
        "l",
        "o",
        "▁H",
        "▁He",
        "lo",
        "é",
        "東",
    ]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    merges = [("▁", "H"), ("▁H", "e"), ("l", "o")]
    raw = RawTokenizer(models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    raw.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if strip else steps)
    raw.add_special_tokens([AddedToken(special, special=True, normalized=False) for special in SPECIALS])
    return raw


def with_bos() -> RawTokenizer:
    raw = sentencepiece()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return raw


def metaspace() -> RawTokenizer:
    vocabulary = {piece: i for i, piece in enumerate([*SPECIALS, "▁", "▁Hello", "▁world", "!", "e"])}
    raw = RawTokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Split(Regex("!"), "isolated")]
    )
    raw.decoder = decoders.Metaspace()
    return raw


def wordpiece() -> RawTokenizer:
    vocabulary = {piece: i for i, piece in enumerate(["[UNK]", "hello", "wor", "##ld"])}
    raw = RawTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.decoder = decoders.WordPiece()
    return raw


def parsed(tokenizer: Tokenizer, ids: list[int]) -> str:
    parser = OutputParser(tokenizer, new_call_id=lambda: "call")
    deltas = [delta for i in ids for delta in parser.push(i)] + parser.flush()
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


@pytest.mark.parametrize("text", TEXTS)
def test_byte_level_tokens_join_to_the_bytes_of_the_text(pico: Tokenizer, text: str) -> None:
    ids = pico.encode(text, add_special_tokens=False)
    assert b"".join(pico.token_bytes(i) for i in ids) == text.encode()
    assert pico.decode(ids) == text


@settings(deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_without_special_tokens_survives_encoding_and_decoding(pico: Tokenizer, text: str) -> None:
    assume(not pico.added_tokens_in(text))
    normalized = unicodedata.normalize("NFC", text)  # as in Qwen's tokenizers
    assert pico.decode(pico.encode(text, add_special_tokens=False)) == normalized


@pytest.mark.parametrize("strip", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_sentencepiece_tokens_decode_as_in_tokenizers(save: Save, text: str, strip: bool) -> None:
    raw = sentencepiece(strip=strip)
    tokenizer = load_tokenizer(save(raw))
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == parsed(tokenizer, ids) == raw.decode(ids)
    assert tokenizer.strips_leading_space == strip


def test_a_byte_token_is_one_byte(save: Save) -> None:
    tokenizer = load_tokenizer(save(sentencepiece()))
    ids = tokenizer.encode("😀", add_special_tokens=False)
    assert [tokenizer.token_bytes(i) for i in ids] == [b" ", b"\xf0", b"\x9f", b"\x98", b"\x80"]


def test_a_token_that_only_looks_like_a_byte_token_is_text(save: Save) -> None:
    raw = metaspace()
    raw.add_tokens([AddedToken("<0x0A>", special=False)])
    tokenizer = load_tokenizer(save(raw))
    assert tokenizer.token_bytes(raw.token_to_id("<0x0A>")) == b"<0x0A>"


def test_metaspace_tokens_decode_as_in_tokenizers(save: Save) -> None:
    raw = metaspace()
    tokenizer = load_tokenizer(save(raw))
    ids = tokenizer.encode("Hello world!", add_special_tokens=False)
    assert tokenizer.decode(ids) == raw.decode(ids) == "Hello world!"


def test_the_bytes_of_other_decoders_are_found_by_decoding(save: Save) -> None:
    tokenizer = load_tokenizer(save(wordpiece()))
    assert [tokenizer.token_bytes(i) for i in (1, 2, 3)] == [b" hello", b" wor", b"ld"]


def test_an_id_without_a_token_has_no_bytes(pico: Tokenizer) -> None:
    assert pico.token_bytes(pico.vocab_size + 7) == b""


def test_special_tokens_have_bytes_and_are_not_decoded(pico: Tokenizer) -> None:
    ids = pico.encode("hi<|im_end|>", add_special_tokens=False)
    assert pico.token_bytes(ids[-1]) == b"<|im_end|>"
    assert ids[-1] in pico.special_token_ids
    assert pico.decode(ids) == "hi"


def test_added_tokens_that_are_not_special_are_text(pico: Tokenizer) -> None:
    ids = pico.encode("<think>", add_special_tokens=False)
    assert len(ids) == 1
    assert pico.decode(ids) == "<think>"


def test_added_tokens_outside_ascii_are_their_own_text(save: Save) -> None:
    raw = RawTokenizer.from_file(str(PICO_TINY / "tokenizer.json"))
    raw.add_tokens([AddedToken("é｜", special=False, normalized=False)])
    tokenizer = load_tokenizer(save(raw))
    assert tokenizer.token_bytes(raw.token_to_id("é｜")) == "é｜".encode()


def test_each_file_may_name_tokens_that_end_an_answer(save: Save) -> None:
    path = save(sentencepiece(), generation={"eos_token_id": [7, 8]}, eos_token="</s>")
    (path / "config.json").write_text(json.dumps({"eos_token_id": 9, "text_config": {"eos_token_id": 10}}))
    assert load_tokenizer(path).eos_token_ids == {2, 7, 8, 9, 10}


def test_the_built_in_model_has_tokens_that_end_an_answer(pico: Tokenizer) -> None:
    ends = {pico.token_bytes(i) for i in pico.eos_token_ids}
    assert ends == {b"<|im_end|>", b"<|endoftext|>"}


def test_bos_is_added_only_on_request(save: Save) -> None:
    tokenizer = load_tokenizer(save(with_bos(), bos_token="<s>"))
    assert tokenizer.encode("H", add_special_tokens=True)[0] == 1
    assert 1 not in tokenizer.encode("H", add_special_tokens=False)


def test_the_reasoning_tags_of_the_vocabulary_are_found(pico: Tokenizer) -> None:
    assert (pico.output_format.reasoning_open, pico.output_format.reasoning_close) == ("<think>", "</think>")


@pytest.mark.parametrize(
    ("template", "tags"),
    [
        ("{{ messages[0].content.split('</think>')[-1] }}", ("<think>", "</think>")),
        ("[THINK]{{ messages }}[/THINK]", ("[THINK]", "[/THINK]")),
        ("{{ messages }}", ("<think>", "</think>")),
    ],
)
def test_tags_that_are_not_tokens_are_found_in_the_template(
    save: Save, template: str, tags: tuple[str | None, str | None]
) -> None:
    tokenizer = load_tokenizer(save(sentencepiece(), chat_template=template))
    assert (tokenizer.output_format.reasoning_open, tokenizer.output_format.reasoning_close) == tags


def test_a_harmony_channel_is_the_reasoning(save: Save) -> None:
    raw = sentencepiece()
    raw.add_special_tokens(["<|channel|>", "<|message|>"])
    assert load_tokenizer(save(raw)).output_format.reasoning_open == "<|channel|>analysis<|message|>"


def test_a_template_gets_only_the_given_variables(pico: Tokenizer) -> None:
    messages = [{"role": "user", "content": "hi"}]
    assert "<think>" not in pico.render(messages, [], {})
    assert "<think>" not in pico.render(messages, [], {"enable_thinking": True})
    assert pico.render(messages, [], {"enable_thinking": False}).endswith("<think>\n\n</think>\n\n")


@pytest.mark.parametrize("name", ["tokenize", "chat_template", "add_generation_prompt", "messages", "return_tensors"])
def test_variables_cannot_set_arguments_of_the_renderer(pico: Tokenizer, name: str) -> None:
    messages = [{"role": "user", "content": "hi"}]
    assert pico.render(messages, [], {name: "x"}) == pico.render(messages, [], {})


def test_a_template_runs_in_a_sandbox(save: Save) -> None:
    template = "{{ messages.__class__.__mro__ }}"
    tokenizer = load_tokenizer(save(sentencepiece(), chat_template=template))
    with pytest.raises(TemplateFailed, match="chat template error: "):
        tokenizer.render([{"role": "user", "content": "hi"}], [], {})


@pytest.mark.parametrize(
    "template",
    ["{{ raise_exception('no') }}", "{{ messages + 1 }}", "{{ 1 // 0 }}", "{% if %}", "{{ nothing.at.all }}"],
)
def test_any_error_of_a_template_is_a_template_failure(save: Save, template: str) -> None:
    tokenizer = load_tokenizer(save(sentencepiece(), chat_template=template))
    with pytest.raises(TemplateFailed, match="chat template error: "):
        tokenizer.render([{"role": "user", "content": "hi"}], [], {})


def test_lone_surrogates_of_a_template_are_replaced(save: Save) -> None:
    tokenizer = load_tokenizer(save(sentencepiece(), chat_template="a{{ '\\ud800' }}{{ messages[0].content }}"))
    text = tokenizer.render([{"role": "user", "content": "hi"}], [], {})
    assert text == "a\N{REPLACEMENT CHARACTER}hi"
    assert tokenizer.encode(text, add_special_tokens=False)


def test_rendering_without_a_template_is_refused(save: Save) -> None:
    tokenizer = load_tokenizer(save(sentencepiece()))
    with pytest.raises(TemplateFailed, match="no chat template"):
        tokenizer.render([{"role": "user", "content": "hi"}], [], {})


def test_a_folder_without_a_tokenizer_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelLoadFailed, match="the tokenizer cannot be loaded"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_without_its_vocabulary_cannot_be_loaded(tmp_path: Path) -> None:
    shutil.copytree(PICO_TINY, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelLoadFailed, match="no vocabulary"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "text", ["{}", '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["x", "y"]]}}', "[", ""]
)
def test_a_tokenizer_file_with_wrong_content_cannot_be_loaded(tmp_path: Path, text: str) -> None:
    shutil.copytree(PICO_TINY, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ModelLoadFailed, match="the tokenizer cannot be loaded"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_that_needs_code_from_its_folder_is_refused(save: Save) -> None:
    path = save(sentencepiece(), auto_map={"AutoTokenizer": ["evil.Evil", None]}, tokenizer_class="Evil")
    (path / "tokenizer.json").unlink()
    (path / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelLoadFailed):
        load_tokenizer(path)


def test_loading_does_not_use_the_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    used: list[object] = []

    def refuse(*arguments: object) -> None:
        used.append(arguments)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    shutil.copytree(PICO_TINY, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    assert load_tokenizer(tmp_path / "model").vocab_size == load_tokenizer(PICO_TINY).vocab_size
    assert used == []
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("127.0.0.1", 9))


def test_several_threads_may_use_one_tokenizer(pico: Tokenizer) -> None:
    text = "Hello 😀 " * 50

    def use(_: int) -> bool:
        ids = pico.encode(text, add_special_tokens=False)
        return pico.decode(ids) == text and "hi" in pico.render([{"role": "user", "content": "hi"}], [], {})

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(40)))


def test_the_repr_shows_the_size_and_the_decoder(pico: Tokenizer) -> None:
    assert repr(pico) == f"<Tokenizer [{pico.vocab_size} tokens | byte-level]>"


def test_a_continuation_gets_no_space(save: Save) -> None:
    tokenizer = load_tokenizer(save(sentencepiece()))
    assert b"".join(map(tokenizer.token_bytes, tokenizer.encode("ab", add_special_tokens=False))) == b" ab"
    assert b"".join(map(tokenizer.token_bytes, tokenizer.encode_continuation("ab"))) == b"ab"
