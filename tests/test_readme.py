"""The README says what is true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from pico_jupyter.cli.main import _parser
from pico_jupyter.server.events import MODEL_KERNEL_CRASHED, MODEL_LOADED, MODEL_UNLOADED
from pico_jupyter.server.extension import PicoJupyter
from pico_jupyter.server.metrics import ServerMetrics

README = (Path(__file__).parents[1] / "README.md").read_text()


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_configuration_table_lists_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section("Configuration"), re.MULTILINE)
    told = {name: ast.literal_eval(default) for name, default in rows}
    assert told == {name: trait.default() for name, trait in PicoJupyter.class_own_traits(config=True).items()}


def test_the_metrics_and_events_are_listed_and_no_others() -> None:
    registry = CollectorRegistry()
    ServerMetrics(registry)
    cells = re.findall(r"^\| (`[^|]+) \|", section("Metrics and events"), re.MULTILINE)
    told = {name.removesuffix("_total") for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    metrics = {family.name.removeprefix("pico_jupyter_") for family in registry.collect()}
    assert told == metrics | {MODEL_LOADED, MODEL_UNLOADED, MODEL_KERNEL_CRASHED}


def test_every_command_that_is_shown_exists() -> None:
    usage = _parser().format_help()
    shown = set(re.findall(r"jupyter pico (\w+)", README))
    assert shown
    assert all(re.search(rf"^ +{command} ", usage, re.MULTILINE) for command in shown)
