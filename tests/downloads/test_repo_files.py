"""Which files of a repository are downloaded."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pico_jupyter.downloads.repo_files import choose_files
from pico_jupyter.errors import InvalidRequest

SHA256, SHA1 = "ab" * 32, "cd" * 20


def sibling(name: str, size: int = 10) -> SimpleNamespace:
    lfs = SimpleNamespace(sha256=SHA256) if name.endswith(".safetensors") else None
    return SimpleNamespace(rfilename=name, size=size, blob_id=SHA1, lfs=lfs)


def chosen(*names: str) -> set[str]:
    return {file.path for file in choose_files("org/name", [sibling(name) for name in ("model.safetensors", *names)])}


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "tokenizer.json", "chat_template.jinja", "merges.txt", "tokenizer.model", "qwen.tiktoken"),
        *("model-00001-of-00002.safetensors", "README.md", "LICENSE", "additional_chat_templates/tool_use.jinja"),
        *("1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"),
    ],
)
def test_a_file_that_a_model_needs_is_chosen(name: str) -> None:
    assert name in chosen(name)


@pytest.mark.parametrize(
    "name",
    [
        *("modeling_x.py", "pytorch_model.bin", "model.pt", "model.gguf", "weights.npz", "run.sh", ".gitattributes"),
        *("onnx/model.safetensors", "original/params.json", "../config.json", "a/../../x.json", "/etc/x.json", "x.pkl"),
        *("additional_chat_templates/../x.jinja", "additional_chat_templates/a/b.jinja", "config.json\n"),
        *("2_Dense/modeling.py", "2_Dense/../model.safetensors", "Dense/config.json"),
    ],
)
def test_programs_pickles_other_formats_and_other_folders_are_not_chosen(name: str) -> None:
    assert chosen(name) == {"model.safetensors"}


def test_copies_of_the_weights_in_another_layout_are_not_chosen() -> None:
    assert chosen("consolidated.safetensors") == {"model.safetensors"}


def test_small_files_come_first_and_weights_last() -> None:
    files = choose_files("org/name", [sibling("model.safetensors", 1), sibling("b.json", 9), sibling("a.json", 20)])
    assert [file.path for file in files] == ["b.json", "a.json", "model.safetensors"]


@pytest.mark.parametrize(("name", "words"), [("x.gguf", "only GGUF files"), ("pytorch_model.bin", "no *.safetensors")])
def test_a_repository_without_safetensors_is_refused(name: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        choose_files("org/name", [sibling(name)])
    assert words in refusal.value.message
    assert "MLX format" in refusal.value.message


def test_a_file_without_a_checksum_is_refused() -> None:
    unsafe = SimpleNamespace(rfilename="model.safetensors", size=1, blob_id="../../x", lfs=None)
    with pytest.raises(InvalidRequest, match="no checksum"):
        choose_files("org/name", [unsafe])
