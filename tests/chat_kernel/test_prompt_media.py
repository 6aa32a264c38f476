from __future__ import annotations

from pathlib import Path

import pytest

from pico_jupyter.chat_kernel.cell import read_cell
from pico_jupyter.chat_kernel.prompt_media import read_prompt
from pico_jupyter.errors import InvalidRequest


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"first")
    (tmp_path / "my b (1).png").write_bytes(b"second")
    (tmp_path / "c.mp4").write_bytes(b"clip")
    (tmp_path / "notes.txt").write_bytes(b"text")
    return tmp_path


def names(source: str) -> list[tuple[str, str]]:
    return [(attachment.kind, attachment.name) for attachment in read_prompt(read_cell(source)).attachments]


def test_magics_attach_in_their_order() -> None:
    assert names("%image my b (1).png\n%image a.png\nWhat?") == [("image", "my b (1).png"), ("image", "a.png")]


def test_an_image_becomes_a_data_url(folder: Path) -> None:
    [attachment] = read_prompt(read_cell("%image a.png\nWhat?")).attachments
    assert attachment.data == "data:image/png;base64,Zmlyc3Q="


def test_videos_are_recognized_by_their_names() -> None:
    assert names("%image c.mp4\nWhat moves?") == [("video", "c.mp4")]


@pytest.mark.parametrize(
    "written", ["![](a.png)", "![a circle](a.png)", '![]( a.png "title" )', "![](<a.png>)", "![](./a.png)"]
)
def test_an_image_in_the_prompt_is_attached_and_removed_from_it(written: str) -> None:
    question = read_prompt(read_cell(f"What is {written}?"))
    assert [attachment.name for attachment in question.attachments] == ["a.png"]
    assert question.content == "What is ?"


@pytest.mark.parametrize("written", ["![](<my b (1).png>)", "![](my%20b%20(1).png)"])
def test_paths_are_written_as_markdown_writes_them(written: str) -> None:
    assert names(written) == [("image", "my b (1).png")]


@pytest.mark.parametrize(
    "prompt",
    [
        "![](https://example.org/a.png)",
        "`![](a.png)` means what?",
        "```\n![](a.png)\n```",
        "~~~md\n![](none.png)\n~~~\nand ``![](none.png)``",
        "[a link](a.png)",
    ],
)
def test_urls_and_code_stay_text(prompt: str) -> None:
    question = read_prompt(read_cell(prompt))
    assert (question.content, question.attachments) == (prompt, ())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("%image none.png\nWhat?", "cannot read 'none.png': No such file or directory"),
        ("![](none.png)", "cannot read 'none.png': No such file or directory"),
        ("%image notes.txt\nWhat?", "notes.txt: the name is not that of an image or a video"),
    ],
)
def test_a_file_that_cannot_be_attached_is_named(source: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_prompt(read_cell(source))
    assert raised.value.message == message
