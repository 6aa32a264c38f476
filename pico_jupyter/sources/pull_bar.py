"""PullBar: shows a download as a progress bar of tqdm, in a terminal or in a notebook."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from pico_jupyter.download_reports import Download


class PullBar:
    """A progress bar with bytes, rate and time left. `bar` is a class with the interface of tqdm."""

    def __init__(self, bar: Any, model: str) -> None:
        self._kind = bar
        self._model = model
        self._bar: Any = None

    def __repr__(self) -> str:
        return f"<PullBar {self._model}>"

    def __enter__(self) -> PullBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, record: Download) -> None:
        """Show the state of the download. The bar appears when the size is known."""
        if not record.total:
            return
        if self._bar is None:
            # tqdm computes the rate from `initial`, so bytes of earlier attempts do not count.
            self._bar = self._kind(
                total=record.total, initial=record.completed, desc=self._model, unit="B", unit_scale=True
            )
        self._bar.set_postfix_str(record.file or "", refresh=False)
        self._bar.update(record.completed - self._bar.n)
