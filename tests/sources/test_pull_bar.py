"""The progress bar of a download."""

from __future__ import annotations

import functools
import io

import msgspec
from tqdm import tqdm

from pico_jupyter.sources.pull_bar import PullBar
from tests.fakes.downloads import RECORD


def test_the_bar_shows_bytes_and_the_file() -> None:
    output = io.StringIO()
    with PullBar(functools.partial(tqdm, file=output, mininterval=0), "small") as bar:
        bar.show(msgspec.structs.replace(RECORD, total=None))
        assert output.getvalue() == ""
        bar.show(msgspec.structs.replace(RECORD, completed=25_000, total=100_000))
        bar.show(msgspec.structs.replace(RECORD, completed=100_000, total=100_000, file="model.safetensors"))
    assert "small:  25%" in output.getvalue()
    assert "100k/100k" in output.getvalue()
    assert "model.safetensors" in output.getvalue()


def test_a_download_that_never_begins_has_no_bar() -> None:
    with PullBar(tqdm, "small") as bar:
        assert repr(bar) == "<PullBar small>"
