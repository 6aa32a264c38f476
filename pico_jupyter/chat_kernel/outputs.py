"""What is below a cell: notes of the kernel, and an answer with its figures. Knows no socket."""

from __future__ import annotations

import time
from typing import Any, Literal, Protocol, TypeAlias, assert_never

from pico_jupyter.chat_kernel.notes import Note
from pico_jupyter.chat_kernel.saved import MARK
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.live import Display, LiveDisplay, Publish, TextDisplay, WholeDisplay
from pico_jupyter.notebook.markdown import printable
from pico_jupyter.sources.calls import Piece

# An answer of a moment has no speed: its first piece may have been any number of tokens.
LEAST_SECONDS = 0.1

# "cells": somebody looks at a notebook. "text": somebody looks at a terminal. "file": nobody looks.
Reader: TypeAlias = Literal["cells", "text", "file"]


class Showable(Protocol):
    """A note, or a table of models."""

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]: ...


class Output:
    """What is below one cell. `publish` sends a message of a type with a content."""

    def __init__(self, publish: Publish, reader: Reader) -> None:
        self.reader = reader
        self.publish = publish

    def __repr__(self) -> str:
        return f"<Output for {self.reader}>"

    def note(self, note: Showable) -> None:
        """Show a note."""
        data = note._repr_mimebundle_()
        if self.reader == "text":
            self.write(f"{data['text/plain']}\n")
        else:
            self.publish("display_data", {"data": data, "metadata": {}, "transient": {}})

    def write(self, text: str) -> None:
        """Print."""
        self.publish("stream", {"name": "stdout", "text": text})


class AnswerOutput:
    """An answer that grows in `output`, with its figures below."""

    def __init__(self, output: Output, answer: Answer) -> None:
        self._output = output
        self._answer = answer
        self._pace = Pace()
        self._display = self._new_display()

    def __repr__(self) -> str:
        return f"<AnswerOutput {self._answer!r} {self._pace!r}>"

    def take(self, piece: Piece) -> None:
        """Add a piece to the answer and show it when it is time."""
        self._answer.take(piece)
        self._pace.take(self._answer)
        self._display.take(piece, self._answer)

    def end(self) -> None:
        """Nothing more comes, for whatever reason."""
        answer = self._answer
        self._display.end(answer)
        if answer.has_begun and self._output.reader == "text":
            reason = [] if answer.finish_reason == "stop" else [answer.finish_reason]
            self._output.write(f"[{' · '.join([self._pace.figures(answer, with_speed=True), *reason])}]\n")
        elif not answer.has_begun and answer.finish_reason == "stopped":
            self._output.note(Note("*Stopped.*", "Stopped."))

    def _new_display(self) -> Display:
        match self._output.reader:
            case "cells":
                return LiveDisplay(self._publish)
            case "file":
                return WholeDisplay(self._publish)
            case "text":
                return TextDisplay(self._output.write, dims=True)
            case _:
                assert_never(self._output.reader)

    def _publish(self, kind: str, content: dict[str, Any]) -> None:
        """Mark the output as an answer's, and write figures below the whole one."""
        answer = self._answer
        if answer.has_begun:
            facts = {"answer": answer.text, "model": answer.model, "finish_reason": answer.finish_reason}
            content = {**content, "metadata": {MARK: facts}}
        if answer.has_begun and answer.finish_reason:
            # A notebook that a program runs is the same each time.
            figures = self._pace.figures(answer, with_speed=self._output.reader != "file")
            markdown = f"{content['data']['text/markdown']}\n\n<small>{figures}</small>"
            content["data"] = {**content["data"], "text/markdown": markdown}
        self._output.publish(kind, content)


class Pace:
    """How fast an answer is written."""

    def __init__(self) -> None:
        self._first = self._last = 0.0

    def __repr__(self) -> str:
        return f"<Pace {self._last - self._first:.1f} s>"

    def take(self, answer: Answer) -> None:
        """The answer has grown, if only by its usage."""
        if answer.text or answer.reasoning:
            self._last = time.monotonic()
            self._first = self._first or self._last

    def figures(self, answer: Answer, *, with_speed: bool) -> str:
        """Who wrote it, how much, how fast."""
        tokens, seconds = answer.usage.completion_tokens, self._last - self._first
        counted = [f"{tokens:,} tokens"] if tokens else []
        speed = [f"{tokens / seconds:.0f} tokens/s"] if with_speed and tokens and seconds > LEAST_SECONDS else []
        return " · ".join([printable(answer.model), *counted, *speed])
