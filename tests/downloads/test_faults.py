"""A download with each kind of fault: no incomplete model is listed, no byte is lost, and nothing hangs.

The long form of this test is `python -m tests.downloads.campaign`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.downloads.cases import KINDS, Case

WORDS = {
    "wrong": "checksum",
    "wrong small file": "checksum",
    "401": "HF_TOKEN",
    "403": "HF_TOKEN",
    "404": "Check the name",
    "full disk": "no room for the remaining",
    "killed worker": "Resume to continue",
    "hub down": "cannot be reached",
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_loses_nothing_and_the_download_can_be_resumed(kind: str, tmp_path: Path) -> None:
    outcome = await Case(kind, 15, tmp_path).run()
    assert (outcome.wrong_models, outcome.lost_bytes, outcome.hangs, outcome.problems) == (0, 0, 0, [])
    assert kind not in WORDS or WORDS[kind] in outcome.messages[0]
