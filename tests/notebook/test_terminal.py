"""The magics in IPython at a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

# The built-in model repeats itself on this until the context is full.
LONG = "Repeat after me: " + "a b c d e f g h " * 30
SECONDS = 90


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    arguments = ["-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit", "--colors=nocolor"]
    environ = {**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "xterm"}
    child = pexpect.spawn(sys.executable, arguments, env=environ, encoding="utf-8", timeout=SECONDS, echo=False)
    try:
        child.expect("In \\[1\\]: ")
        child.sendline("%load_ext pico_jupyter")
        child.expect("In \\[2\\]: ")
        yield child
    finally:
        child.close(force=True)


def test_reasoning_is_dimmed_and_the_answer_follows(terminal: pexpect.spawn[str]) -> None:
    terminal.sendline("%chat -r on --temperature 0 What is 348 + 277?")
    terminal.expect("\x1b\\[2m(.*)\x1b\\[0m\r\n\r\n348 \\+ 277 = 625\r\n")
    terminal.sendline("answer")
    terminal.expect("Out\\[3\\]: *(\r\n)?348 \\+ 277 = 625")


def test_control_c_stops_the_model(terminal: pexpect.spawn[str]) -> None:
    terminal.sendline(f"%chat -r off --temperature 0 {LONG}")
    terminal.expect("oror")
    terminal.sendintr()
    terminal.expect("KeyboardInterrupt: stopped")
    terminal.sendline("answer.finish_reason")
    terminal.expect("'stopped'")
