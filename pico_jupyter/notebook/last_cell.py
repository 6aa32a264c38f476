"""LastCell: the cell that ran last, and the questions of %fix and %explain about it."""

from __future__ import annotations

import traceback

from IPython.core.interactiveshell import ExecutionResult

from pico_jupyter.errors import InvalidRequest

OWN_MAGICS = ("%fix", "%explain", "%chat", "%%chat", "%pico")
MAX_SOURCE = 12_000
MAX_ERROR = 3_000
FRAMES = 3

FIX = "This cell of a Jupyter notebook fails. Correct it. Answer with the whole corrected cell in one code block."
EXPLAIN_ERROR = "This cell of a Jupyter notebook fails. Explain the error in a few sentences, and how to correct it."
EXPLAIN = "Explain in a few sentences what this cell of a Jupyter notebook does."


class LastCell:
    """The source of the cell that ran last, and its error. The magics of this package do not count."""

    def __init__(self) -> None:
        self._source = ""
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<LastCell [{type(self._error).__name__ if self._error else 'no error'}]>"

    def record(self, result: ExecutionResult) -> None:
        """Keep a cell. IPython calls this after each one."""
        info = result.info
        source = (info.raw_cell or "").strip() if info is not None and info.store_history else ""
        if source and not source.startswith(OWN_MAGICS):
            self._source = source
            self._error = result.error_before_exec or result.error_in_exec

    def fix(self, hint: str) -> str:
        """The question of %fix. Raises InvalidRequest if the cell that ran last did not fail."""
        if self._error is None:
            raise InvalidRequest("%fix corrects the cell that ran last, if it failed. It did not fail.")
        return self._question(FIX, hint)

    def explain(self, hint: str) -> str:
        """The question of %explain. Raises InvalidRequest if no cell ran."""
        if not self._source:
            raise InvalidRequest("%explain explains the cell that ran last. No cell has run.")
        return self._question(EXPLAIN if self._error is None else EXPLAIN_ERROR, hint)

    def _question(self, request: str, hint: str) -> str:
        parts = [request, f"```python\n{self._source[:MAX_SOURCE]}\n```"]
        if self._error is not None:
            lines = traceback.format_exception(self._error, limit=-FRAMES)
            parts.append(f"```text\n{''.join(lines)[-MAX_ERROR:].strip()}\n```")
        return "\n\n".join([*parts, hint]).strip()
