"""Runs the notebooks against a real Jupyter server and saves their outputs for readers who cannot run them."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.notebooks.kernels import server_behind_kernels

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
SANITIZE = ROOT / "tests" / "notebooks" / "sanitize.cfg"
# Output types that are not saved. Readers see a widget's text output instead, and an image's PNG instead of its JPEG.
DROPPED_TYPES = ("application/vnd.jupyter.widget-view+json", "image/jpeg")
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> None:
    """Run the notebooks named on the command line, or all."""
    paths = [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb"))
    with tempfile.TemporaryDirectory() as folder, server_behind_kernels(Path(folder)):
        for path in paths:
            start = time.monotonic()
            try:
                renew(path)
            except CellExecutionError as error:
                sys.exit(f"{path.name}: {error}")
            print(f"{path.name}: {time.monotonic() - start:.1f} s")


def renew(path: Path) -> None:
    """Run a notebook and save it. The old output of a cell is kept if the new one differs only in measured times."""
    before = nbformat.read(path, as_version=4)
    after = nbformat.from_dict(before)
    NotebookClient(
        after,
        timeout=120,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    after.metadata = nbformat.from_dict(METADATA)
    for old, new in zip(before.cells, after.cells, strict=True):
        if new.cell_type == "code":
            new.outputs = kept(old.outputs, new.outputs)
    nbformat.validate(after)
    nbformat.write(after, path)


def kept(before: list[NotebookNode], after: list[NotebookNode]) -> list[NotebookNode]:
    """The new outputs without DROPPED_TYPES, or the old outputs if the two differ only in measured times."""
    for output in after:
        for kind in DROPPED_TYPES:
            output.get("data", {}).pop(kind, None)
    return before if sanitized(before) == sanitized(after) else after


def sanitized(outputs: list[NotebookNode]) -> str:
    """The outputs as text, with measured times replaced."""
    text = nbformat.v4.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs, id="cell")]))
    for pattern, replacement in re.findall(r"^regex: (.*)$\n^replace: (TIME)$", SANITIZE.read_text(), re.MULTILINE):
        text = re.sub(pattern, replacement, text)
    return text


if __name__ == "__main__":
    main()
