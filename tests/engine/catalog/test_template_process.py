"""Chat templates are tested in a child process, which ends when one of them exceeds a limit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pico_jupyter.engine.catalog import template_process
from pico_jupyter.engine.catalog.template_features import TemplateFeatures
from pico_jupyter.engine.catalog.template_process import TemplateProcess
from pico_jupyter.engine.catalog.weights import BrokenModel
from pico_jupyter.template_switch import TemplateSwitch

GROWTH = "{% set n = namespace(x='a') %}{% for _ in range(60) %}$GROW{% endfor %}"
NESTED = "{% set n = namespace(x=[]) %}{% for _ in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
WORKER = "pico_jupyter.engine.catalog.template_worker"


@pytest.fixture
def process() -> Iterator[TemplateProcess]:
    process = TemplateProcess()
    yield process
    process.close()


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if WORKER in child.cmdline()]


def tools_of(process: TemplateProcess, text: str) -> bool:
    return process.detect(text, {}, set()).tools


def test_the_features_are_those_of_the_template_with_its_tokens(process: TemplateProcess) -> None:
    template = "{{ bos_token }}{% if enable_thinking %}{{ eos_token }}{% endif %}"
    switch = TemplateSwitch({"enable_thinking": True}, {"enable_thinking": False})
    tokens = {"bos_token": "\ud800", "eos_token": "</s>\n"}
    assert process.detect(template, tokens, {"<think>", "</think>"}) == TemplateFeatures(False, switch, False)
    assert process.detect(template, {"bos_token": "", "eos_token": ""}, set()) == TemplateFeatures()


def test_one_child_tests_all_templates_until_it_is_closed(process: TemplateProcess) -> None:
    assert tools_of(process, "{{ tools }} one")
    (child,) = children()
    assert not tools_of(process, "{{ tool }} two")
    assert children() == [child]
    process.close()
    assert children() == []
    assert tools_of(process, "{{ tools }} three")


def test_an_answer_is_kept_after_the_child_has_ended(process: TemplateProcess) -> None:
    assert tools_of(process, "{{ tools }} kept")
    process.close()
    assert tools_of(process, "{{ tools }} kept")
    assert children() == []


def test_a_broken_template_has_its_reason_each_time(process: TemplateProcess) -> None:
    for _ in range(2):
        with pytest.raises(BrokenModel, match="the chat template cannot be parsed: Encountered unknown tag 'nothing'"):
            tools_of(process, "{% nothing %}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 3000000000 }}",
        "{{ [1] * 3000000000 }}",
        "{{ 'a' * 10 ** 17 }}",
        "{{ '%3000000000d' % 1 }}",
        "{{ '{:3000000000d}'.format(1) }}",
        "{{ 'a'|center(3000000000) }}",
        "{{ messages|tojson(indent=3000000000) }}",
        "{{ ('a' * 1000000).translate({97: 'a' * 1000000}) }}",
        "{{ ('a' * 100000).replace('a', 'a' * 100000) }}",
        GROWTH.replace("$GROW", "{% set n.x = n.x ~ n.x %}"),
        GROWTH.replace("$GROW", "{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}"),
        "{{ 'a' * 2000000 }}",
        "a" * (1 << 21),
    ],
)
def test_a_template_that_creates_too_much_text_is_broken(process: TemplateProcess, template: str) -> None:
    with pytest.raises(BrokenModel, match="the chat template takes too long or creates too much text"):
        tools_of(process, template)


@pytest.mark.slow
@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        NESTED + "{{ n.x|tojson }}",
        NESTED + "{% set one = n.x %}" + NESTED + "{{ n.x == one }}",
        "{{ ([[1] * 1000] * 100000)|sum(start=[])|length }}",
        "{% if messages[0].content is not string %}" + NESTED + "{{ n.x }}{% endif %}",
        "{% if tools %}" + NESTED + "{{ n.x }}{% endif %}",
    ],
    ids=["loops", "JSON", "comparison", "sum", "in parts of a message", "with tools"],
)
def test_a_template_that_takes_too_long_is_broken(process: TemplateProcess, template: str) -> None:
    with pytest.raises(BrokenModel, match="the chat template takes too long or creates too much text"):
        tools_of(process, template)


def test_the_next_template_is_tested_after_one_that_ended_the_child(process: TemplateProcess) -> None:
    with pytest.raises(BrokenModel):
        tools_of(process, "{{ 'b' * 3000000000 }}")
    assert children() == []
    assert tools_of(process, "{{ tools }} four")


def test_a_child_that_cannot_start_is_not_the_fault_of_the_template(
    process: TemplateProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(template_process, "COMMAND", (sys.executable, str(tmp_path / "absent.py")))
        with pytest.raises(OSError, match="the process that tests chat templates ended with exit status 2"):
            tools_of(process, "{{ tools }} five")
    assert tools_of(process, "{{ tools }} five")


def test_the_child_ends_with_its_parent() -> None:
    """The parent is killed, so it cannot end the child."""
    code = (
        "import time, psutil; from pico_jupyter.engine.catalog.template_process import TemplateProcess\n"
        "process = TemplateProcess(); process.detect('{{ tools }}', {}, set())\n"
        "print(psutil.Process().children()[0].pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    _, alive = psutil.wait_procs([child], timeout=30)
    assert alive == []


def test_small_widths_and_repetitions_are_allowed(process: TemplateProcess) -> None:
    assert tools_of(process, "{{ 'a' * 80 }}{{ 'a'|center(80) }}{{ '%5d'|format(3) }}{{ '%8.2f' % 2.5 }}{{ tools }}")
