from __future__ import annotations

import pytest

from pico_jupyter.chat_kernel.cell import MAGICS
from pico_jupyter.chat_kernel.notes import ChatSettings, note_help, note_magic, note_settings


def test_help_names_every_magic() -> None:
    note = note_help()
    for name in MAGICS:
        assert f"`%{name}" in note.markdown
        assert f"  %{name}" in note.plain


def test_a_magic_is_explained() -> None:
    assert note_magic("model").plain == "%model NAME: the model"


def test_defaults_are_shown_as_such() -> None:
    note = note_settings(ChatSettings(), starts_over=True)
    assert note.plain == (
        "model: the first on this machine · reasoning: default · temperature: the model's default · new conversation"
    )
    assert note.markdown == note.plain


@pytest.mark.parametrize(
    ("system", "written"), [("Be <b>.", "`Be <b>.`"), ("a `b` c", "`` a `b` c ``"), ("one\ntwo", "`one two`")]
)
def test_settings_are_quoted_in_markdown(system: str, written: str) -> None:
    note = note_settings(ChatSettings("tiny", "on", system, 0.0), starts_over=False)
    assert note.markdown == f"model: `tiny` · reasoning: on · temperature: 0 · system: {written}"
