"""Tokenizers for the tests of prompts: the built-in model's, and the same with another chat template."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pico_jupyter.engine.catalog.catalog import BUILTIN_DIR
from pico_jupyter.engine.text.tokenizer import Tokenizer, load_tokenizer

PICO_TINY = BUILTIN_DIR / "pico-tiny"
WithTemplate = Callable[[str], Tokenizer]


@pytest.fixture(scope="module")
def pico() -> Tokenizer:
    return load_tokenizer(PICO_TINY)


@pytest.fixture
def with_template(tmp_path: Path) -> WithTemplate:
    def with_template(template: str) -> Tokenizer:
        shutil.copytree(PICO_TINY, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
        (tmp_path / "chat_template.jinja").write_text(template)
        return load_tokenizer(tmp_path)

    return with_template
