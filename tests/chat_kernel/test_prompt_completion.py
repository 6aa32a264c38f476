from __future__ import annotations

from pathlib import Path

import pytest

from pico_jupyter.chat_kernel.prompt_completion import CursorMatches, complete, word_at
from pico_jupyter.sources.calls import ListedModel


async def models() -> list[ListedModel]:
    return [ListedModel("pico-tiny"), ListedModel("pico-tiny-vl"), ListedModel("org/other")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    (tmp_path / "plan.md").touch()
    (tmp_path / ".hidden").touch()


@pytest.mark.parametrize(
    ("code", "matches"),
    [
        ("%mod", ["%model", "%models"]),
        ("%%RE", ["%reasoning"]),
        ("%model tiny\n%sys", ["%system"]),
        ("%model pico", ["pico-tiny", "pico-tiny-vl"]),
        ("%model ", ["pico-tiny", "pico-tiny-vl", "org/other"]),
        ("%reasoning o", ["on", "off"]),
        ("%image p", ["pictures/", "plan.md"]),
        ("%image pictures/", ["pictures/a.png"]),
        ("%image nowhere/", []),
        ("look at ![](pic", ["pictures/"]),
        ("%system You", []),
        ("hello", []),
        ("", []),
    ],
)
async def test_matches_at_the_end_of_a_line(code: str, matches: list[str]) -> None:
    found = await complete(code, len(code), models)
    assert found.matches == matches


async def test_matches_replace_the_prefix() -> None:
    assert await complete("%model pico-tiny-", 17, models) == CursorMatches(["pico-tiny-vl"], 7)
    assert await complete("%reasoning on\nWhat", 12, models) == CursorMatches(["on", "off"], 11)


@pytest.mark.parametrize(("cursor", "word"), [(0, "%model"), (3, "%model"), (9, "pico-tiny-vl"), (20, "hello")])
def test_the_word_at_the_cursor(cursor: int, word: str) -> None:
    assert word_at("%model pico-tiny-vl\nhello, you", cursor) == word
    assert word_at("a  b", 2) == ""
