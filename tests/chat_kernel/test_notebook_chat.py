from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pico_jupyter.chat_kernel.notebook_chat import NotebookChat
from pico_jupyter.chat_kernel.outputs import CellOutput
from pico_jupyter.chat_kernel.saved import SavedCell, saved_cells
from pico_jupyter.errors import EngineFailed, InvalidRequest, MediaUnsupported, ModelNotFound, PicoError
from pico_jupyter.sources.calls import AnswerRequest, FinishPiece, Piece, Source, TextPiece, Turn
from tests.chat_kernel.notebooks import notebook, saved_cell
from tests.fakes.source import FakeSource

HI = (TextPiece("Hi"), TextPiece("."), FinishPiece("stop"))


class FakeNotebook:
    """A notebook that a test saves."""

    def __init__(self) -> None:
        self.saved: Mapping[str, SavedCell] = {}

    def save(self, *cells: dict[str, Any]) -> None:
        self.saved = saved_cells(notebook(*cells))

    async def cells(self) -> Mapping[str, SavedCell]:
        return self.saved


class Rig:
    """A chat with a scripted source and a scripted saved notebook. `shown` has the outputs of its cells."""

    def __init__(self, *pieces: Piece | PicoError, ends: bool = True) -> None:
        self.source = FakeSource(*pieces, ends=ends)
        self.notebook = FakeNotebook()
        self.shown: list[dict[str, Any]] = []
        self.chat = NotebookChat(self._find, self.notebook)
        self._has_shown = asyncio.Event()

    async def _find(self) -> Source:
        return self.source

    async def run(self, source: str, name: str = "cell", deleted: tuple[str, ...] = ()) -> None:
        await self.chat.run(source, name, CellOutput(self._publish, "cells"), deleted)

    async def stop(self, source: str, name: str) -> None:
        """Run a cell, and stop it once it has an output."""
        self._has_shown.clear()
        task = asyncio.create_task(self.run(source, name))
        await self._has_shown.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def _publish(self, kind: str, content: dict[str, Any]) -> None:
        self.shown.append(content)
        self._has_shown.set()

    @property
    def call(self) -> AnswerRequest:
        return self.source.calls[-1]

    @property
    def past(self) -> list[str]:
        """The contents of the turns before the last question."""
        return [turn.content for turn in self.call.messages[:-1]]


async def test_settings_persist_until_they_are_changed() -> None:
    rig = Rig(*HI)
    await rig.run("%model TINY\n%reasoning on\n%temperature 0.5\n%system Be brief.\n%system Be kind.")
    await rig.run("hello", "b")
    call = rig.call
    assert (call.model, call.reasoning, call.temperature, call.system) == ("tiny", "on", 0.5, "Be brief.\nBe kind.")
    await rig.run("%reasoning default\n%temperature default\n%system\nhello", "c")
    assert (rig.call.reasoning, rig.call.temperature, rig.call.system) == ("default", None, "")


async def test_the_first_model_is_the_default() -> None:
    rig = Rig(*HI)
    await rig.run("hello")
    assert rig.call.model == "tiny"


async def test_a_cell_of_magics_sends_no_request() -> None:
    rig = Rig(*HI)
    await rig.run("%reasoning off")
    assert rig.source.calls == []
    assert "reasoning: off" in rig.shown[0]["data"]["text/plain"]


async def test_an_empty_cell_shows_nothing() -> None:
    rig = Rig(*HI)
    await rig.run("  \n")
    assert (rig.source.calls, rig.shown) == ([], [])


@pytest.mark.parametrize(
    ("magics", "kind", "says"),
    [
        ("%model big", ModelNotFound, "there is no model 'big'. %models lists"),
        ("%model tinny", ModelNotFound, "Did you mean tiny?"),
        ("%model", ModelNotFound, "there is no model ''"),
        ("%reasoning maybe", InvalidRequest, "'maybe' is not 'on', 'off' or"),
        ("%temperature warm", InvalidRequest, "%temperature NUMBER"),
        ("%temperature 3", InvalidRequest, "%temperature NUMBER"),
        ("%temperature nan", InvalidRequest, "%temperature NUMBER"),
        ("%image", InvalidRequest, "%image PATH"),
        ("%image a.png", InvalidRequest, "needs a prompt below it"),
        ("%nothing", InvalidRequest, "there is no %nothing"),
    ],
)
async def test_a_wrong_magic_changes_nothing(magics: str, kind: type[PicoError], says: str) -> None:
    rig = Rig(*HI)
    with pytest.raises(kind, match=says.replace("?", r"\?")):
        await rig.run(f"%reasoning on\n{magics}")
    await rig.run("hello", "b")
    assert rig.call.reasoning == ("on" if magics == "%image a.png" else "default")


async def test_a_cell_continues_the_answers_above_it() -> None:
    rig = Rig(*HI)
    await rig.run("one", "a")
    await rig.run("two", "b")
    await rig.run("three", "c")
    await rig.run("two again", "b")
    assert rig.past == ["one", "Hi."]
    await rig.run("four", "d")
    assert rig.past == ["one", "Hi.", "two again", "Hi.", "three", "Hi."]


async def test_new_ignores_the_cells_above() -> None:
    rig = Rig(*HI)
    await rig.run("one", "a")
    await rig.run("%new\ntwo", "b")
    assert rig.past == []
    await rig.run("three", "c")
    assert rig.past == ["two", "Hi."]
    await rig.run("two", "b")
    await rig.run("three", "c")
    assert rig.past == ["one", "Hi.", "two", "Hi."]


async def test_a_cell_that_fails_loses_its_old_answer() -> None:
    rig = Rig(*HI)
    await rig.run("one", "a")
    with pytest.raises(InvalidRequest):
        await rig.run("%nothing\none", "a")
    await rig.run("two", "b")
    assert rig.past == []


async def test_a_failed_answer_is_displayed_and_not_continued() -> None:
    rig = Rig(TextPiece("Hi"), EngineFailed("it died"))
    with pytest.raises(EngineFailed):
        await rig.run("one", "a")
    assert rig.shown[-1]["metadata"]["pico_jupyter"] == {"answer": "Hi", "model": "tiny", "finish_reason": "failed"}
    with pytest.raises(EngineFailed):
        await rig.run("two", "b")
    assert rig.past == []


async def test_a_stopped_answer_is_continued() -> None:
    rig = Rig(TextPiece("Once"), ends=False)
    await rig.stop("Tell me.", "a")
    assert rig.source.closed == 1
    assert "Stopped" in rig.shown[-1]["data"]["text/markdown"]
    await rig.stop("Go on.", "b")
    assert rig.past == ["Tell me.", "Once"]


async def test_the_saved_notebook_provides_the_order_and_missing_answers() -> None:
    rig = Rig(*HI)
    rig.notebook.save(
        saved_cell("a", "%reasoning on\none", "First."), saved_cell("b", "two"), saved_cell("c", "three", "Third.")
    )
    await rig.run("two", "b")
    assert rig.past == ["one", "First."]
    await rig.run("four", "not-saved-yet")
    assert rig.past == ["one", "First.", "two", "Hi.", "three", "Third."]


async def test_cells_without_saved_ids_follow_each_other() -> None:
    rig = Rig(*HI)
    rig.notebook.save(saved_cell("a", "one", "First."))
    await rig.run("two", "execution 1")
    await rig.run("three", "vscode-notebook-cell:/chat.ipynb#W0")
    assert rig.past == ["two", "Hi."]


async def test_a_saved_new_counts_only_if_its_cell_ran() -> None:
    rig = Rig(*HI)
    rig.notebook.save(saved_cell("a", "one", "First."), saved_cell("b", "%new"), saved_cell("c", "three", "Third."))
    await rig.run("four", "d")
    assert rig.past == ["three", "Third."]


async def test_a_missing_file_leaves_the_saved_question() -> None:
    rig = Rig(*HI)
    rig.notebook.save(saved_cell("a", "%image none.png\nWhat is it?", "A dot."))
    await rig.run("Sure?", "b")
    assert rig.past == ["What is it?", "A dot."]


async def test_nothing_is_fetched_for_a_cell_that_did_not_run_here() -> None:
    rig = Rig(*HI)
    rig.notebook.save(saved_cell("a", "%image https://example.org/a.png\nWhat is it?", "A dot."))
    await rig.run("Sure?", "b")
    assert rig.call.messages[0] == Turn("user", "What is it?")


async def test_another_notebook_under_the_same_name_is_ignored() -> None:
    rig = Rig(*HI)
    await rig.run("one", "a")
    rig.notebook.save(saved_cell("x", "secret", "Other."))
    await rig.run("two", "b")
    assert rig.past == ["one", "Hi."]


async def test_a_deleted_cell_is_ignored_while_it_is_still_saved() -> None:
    rig = Rig(*HI)
    cells = (saved_cell("a", "one", "First."), saved_cell("b", "two", "Second."))
    rig.notebook.save(*cells)
    await rig.run("three", "c", deleted=("a",))
    assert rig.past == ["two", "Second."]
    await rig.run("three", "c")
    assert rig.past == ["two", "Second."]
    # A later save that has the cell again means that the user undid the deletion.
    rig.notebook.save(*cells, saved_cell("c", "three", "Third."))
    await rig.run("three", "c")
    assert rig.past == ["one", "First.", "two", "Second."]


async def test_images_above_need_a_model_with_vision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"picture")
    rig = Rig(*HI)
    await rig.run("%model tiny\n%image a.png\nWhat is it?", "a")
    with pytest.raises(MediaUnsupported, match="images of the cells above: start a new conversation with %new"):
        await rig.run("And now?", "b")
    await rig.run("%new\nAnd now?", "c")
    assert rig.past == []


def test_the_repr_has_the_model_and_the_conversation() -> None:
    assert repr(Rig().chat) == "<NotebookChat first model <NotebookConversation [0 exchanges in 0 cells]>>"
