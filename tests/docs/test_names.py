"""Names that the pages mention are names of this project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from pico_jupyter.cli.main import _parser
from pico_jupyter.configuration import EngineConfiguration
from pico_jupyter.server.extension import PicoJupyter
from pico_jupyter.server.metrics import ServerMetrics

ROOT = Path(__file__).parents[2]
PAGES = "\n".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("[!_]*/*.md")])
SUFFIXES = ("_total", "_bucket", "_count", "_sum")


def metrics() -> set[str]:
    registry = CollectorRegistry()
    ServerMetrics(registry)
    families = {family.name for family in registry.collect()}
    return families | {family + suffix for family in families for suffix in SUFFIXES}


def settings() -> set[str]:
    return {*EngineConfiguration.class_own_traits(config=True), *PicoJupyter.class_own_traits(config=True)}


def commands() -> set[str]:
    return set(re.findall(r"^    (\w+) ", _parser().format_help(), re.MULTILINE))


def targets() -> set[str]:
    return set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("mention", "known"),
    [
        (r"\b(pico_jupyter_\w*[a-z])\b", metrics()),
        (r"\bc\.PicoJupyter\.(\w+)", settings()),
        (r"\bjupyter pico ([a-z]+)", commands()),
        (r"`make (\w+)", targets()),
    ],
    ids=["metrics", "settings", "commands", "targets of make"],
)
def test_what_is_named_is_there(mention: str, known: set[str]) -> None:
    mentioned = set(re.findall(mention, PAGES))
    assert mentioned
    assert mentioned <= known
