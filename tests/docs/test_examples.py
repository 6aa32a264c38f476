"""What the tutorial and the how-to guides show is run: bash and Python as they stand, against a real server.

A ```text block behind one of them is what it prints. What only shows something has another fence.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.running import RunningServer

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*DOCS.glob("tutorial/*.md"), *DOCS.glob("how-to/*.md")])
BLOCK = re.compile(r"^```(bash|i?python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
# Cells of one page share a namespace. The shell says with a status whether all of them ran.
NOTEBOOK = """
import sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance(colors="NoColor")
for cell in sys.stdin.read().split("\\0"):
    if not shell.run_cell(cell).success:
        sys.exit(f"this failed:\\n{cell}")
    print("\\0", end="", flush=True)
"""


@dataclass(frozen=True)
class Block:
    """One example: what it is written in, itself, and what it prints (None: the page does not say)."""

    language: str
    code: str
    printed: str | None


def blocks(page: Path) -> list[Block]:
    return [Block(language, code, printed or None) for language, code, printed in BLOCK.findall(page.read_text())]


def is_told(block: Block, output: str) -> bool:
    """Whether the page says what is printed, if it says anything."""
    return block.printed is None or block.printed.strip() == output.strip()


def environ(server: RunningServer) -> dict[str, str]:
    """As a reader has it: a terminal of the environment, and the server's address in two variables."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    url = server.url.rstrip("/")
    return {
        **server.environ,
        "PATH": path,
        "URL": url,
        "TOKEN": server.token,
        "PICO_JUPYTER_URL": url,
        "PICO_JUPYTER_TOKEN": server.token,
        "COLUMNS": "100",
    }


def run(command: list[str], server: RunningServer, folder: Path, text: str = "") -> str:
    """What the command prints."""
    done = subprocess.run(
        command, cwd=folder, env=environ(server), input=text, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def page_id(page: Path) -> str:
    return f"{page.parent.name}/{page.stem}"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=page_id)
def test_the_examples_of_a_page_run_and_print_what_it_says(page: Path, server: RunningServer, tmp_path: Path) -> None:
    examples = blocks(page)
    cells = [block for block in examples if block.language != "bash"]
    text = "\0".join(block.code for block in cells)
    printed = run([sys.executable, "-c", NOTEBOOK], server, tmp_path, text).split("\0")[:-1] if cells else []
    for block, output in zip(cells, printed, strict=True):
        assert is_told(block, output), output
    for block in examples:
        if block.language == "bash":
            output = run(["bash", "-euo", "pipefail", "-c", block.code], server, tmp_path)
            assert is_told(block, output), output


def test_there_is_something_to_run() -> None:
    assert len(blocks(DOCS / "tutorial/index.md")) > 5
