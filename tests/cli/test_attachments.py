"""Files that go along with a question."""

from __future__ import annotations

from pathlib import Path

import pytest

from pico_jupyter.cli.attachments import Attachment, as_file_name, read_attachment
from pico_jupyter.errors import InvalidRequest


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"cat")
    name = str(tmp_path / "cat.png")
    assert read_attachment("image", name) == Attachment("image", name, b"cat")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cat.png").write_bytes(b"cat")
    assert read_attachment("image", "~/cat.png").data == b"cat"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nowhere.png", "No such file or directory"), (".", "Is a directory"), ("a\0b", "embedded null byte")],
)
def test_a_file_that_cannot_be_read_is_named(name: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_attachment("video", name)
    assert caught.value.message == f"cannot read {name}: {reason}"


@pytest.mark.parametrize(
    ("attachment", "part"),
    [
        (
            Attachment("image", "a/cat.png", b"hi"),
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        ),
        (
            Attachment("video", "cat.mp4", b"hi"),
            {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,aGk="}},
        ),
        (Attachment("image", "cat", b"hi"), {"type": "image_url", "image_url": {"url": "data:;base64,aGk="}}),
    ],
)
def test_a_server_takes_it_as_a_data_url(attachment: Attachment, part: dict[str, object]) -> None:
    assert attachment.content_part() == part


def test_its_repr_does_not_show_its_bytes() -> None:
    assert repr(Attachment("image", "cat.png", b"cat")) == "Attachment(kind='image', name='cat.png')"


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("a/cat.png", "a/cat.png"),
        ("my cat.png", "my cat.png"),
        (r"my\ cat.png", "my cat.png"),
        ("'my cat.png'", "my cat.png"),
        ("it's.png", "it's.png"),
    ],
)
def test_a_file_is_meant_as_terminals_and_people_write_it(typed: str, name: str) -> None:
    assert as_file_name(typed) == name
