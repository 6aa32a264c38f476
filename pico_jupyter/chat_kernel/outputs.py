"""What is below a cell: an answer that grows, one that comes as a whole, or text in a terminal. Knows no socket."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias
from uuid import uuid4

from pico_jupyter.chat_kernel.notebook_file import MARK
from pico_jupyter.notebook.answer import Answer

# A growing answer is shown so often at most.
UPDATE_SECONDS = 0.1
# What a terminal obeys; a model may have it from anywhere.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Send: TypeAlias = Callable[[str, dict[str, Any]], object]


class Showable(Protocol):
    """A note, or a table of models."""

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]: ...


class Output(Protocol):
    """What is below a cell."""

    def note(self, note: Showable) -> None:
        """Show a note of ours."""
        ...

    def begin(self, answer: Answer) -> None:
        """An answer comes."""
        ...

    def grow(self) -> None:
        """There is more of it."""
        ...

    def end(self) -> None:
        """Nothing more comes of it."""
        ...


class WholeOutput:
    """Shows an answer when it has ended. `send` publishes a message of a type with a content."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._display_id = uuid4().hex

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._display_id}>"

    def note(self, note: Showable) -> None:
        """See Output.note."""
        self._send("display_data", {"data": note._repr_mimebundle_(), "metadata": {}, "transient": {}})

    def begin(self, answer: Answer) -> None:
        """See Output.begin."""
        self._answer = answer
        self._pace = Pace()

    def grow(self) -> None:
        """See Output.grow."""
        self._pace.note(self._answer)

    def end(self) -> None:
        """See Output.end."""
        self._display("display_data", f"\n\n<small>{figures(self._answer, self._pace)}</small>")

    def _display(self, kind: str, foot: str) -> None:
        answer = self._answer
        data = {"text/markdown": answer.to_markdown() + foot, "text/plain": answer.text}
        metadata = {MARK: {"answer": answer.text, "model": answer.model, "finish_reason": answer.finish_reason}}
        self._send(kind, {"data": data, "metadata": metadata, "transient": {"display_id": self._display_id}})


class LiveOutput(WholeOutput):
    """Shows an answer while it grows."""

    def begin(self, answer: Answer) -> None:
        """See Output.begin."""
        super().begin(answer)
        self._shown = time.monotonic()
        self._display("display_data", "…")

    def grow(self) -> None:
        """See Output.grow."""
        super().grow()
        if time.monotonic() - self._shown >= UPDATE_SECONDS:
            self._display("update_display_data", "")
            self._shown = time.monotonic()

    def end(self) -> None:
        """See Output.end."""
        self._display("update_display_data", f"\n\n<small>{figures(self._answer, self._pace)}</small>")


class StreamedOutput:
    """Prints an answer while it grows, the thinking behind bars."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def __repr__(self) -> str:
        return "<StreamedOutput>"

    def note(self, note: Showable) -> None:
        """See Output.note."""
        self._print(note._repr_mimebundle_()["text/plain"] + "\n")

    def begin(self, answer: Answer) -> None:
        """See Output.begin."""
        self._answer = answer
        self._pace = Pace()
        self._thought = self._said = 0
        self._shown = time.monotonic()

    def grow(self) -> None:
        """See Output.grow."""
        self._pace.note(self._answer)
        if time.monotonic() - self._shown >= UPDATE_SECONDS:
            self._print_more()
            self._shown = time.monotonic()

    def end(self) -> None:
        """See Output.end."""
        self._print_more()
        self._print(f"\n\n[{figures(self._answer, self._pace)}]\n")

    def _print_more(self) -> None:
        answer = self._answer
        thought, said = answer.reasoning[self._thought :], answer.text[self._said :]
        if thought:
            self._print(("" if self._thought else "│ ") + thought.replace("\n", "\n│ "))
        if said:
            self._print("\n\n" * bool(answer.reasoning and not self._said) + said)
        self._thought, self._said = len(answer.reasoning), len(answer.text)

    def _print(self, text: str) -> None:
        self._send("stream", {"name": "stdout", "text": CONTROLS.sub("", text)})


class Pace:
    """When an answer began and when it was last written on."""

    def __init__(self) -> None:
        self._first = self._last = 0.0

    def __repr__(self) -> str:
        return f"<Pace {self.seconds:.1f} s>"

    @property
    def seconds(self) -> float:
        """From the first text to the last."""
        return self._last - self._first

    def note(self, answer: Answer) -> None:
        """The answer has grown, if only by its figures."""
        if answer.text or answer.reasoning:
            self._last = time.monotonic()
            self._first = self._first or self._last


def figures(answer: Answer, pace: Pace) -> str:
    """The small line below an answer."""
    tokens = answer.usage.completion_tokens
    parts = [answer.model, f"{tokens:,} tokens" if tokens else "", answer.finish_reason]
    # The first text may be any number of tokens, so an answer of a moment has no speed.
    if tokens and pace.seconds > UPDATE_SECONDS:
        parts.insert(2, f"{tokens / pace.seconds:.0f} tokens/s")
    return " · ".join(part for part in parts if part and part != "stop")
