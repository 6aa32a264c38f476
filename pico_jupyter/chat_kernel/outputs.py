"""Publishes the outputs of a cell: notes of the kernel, and an answer with its token count and speed."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias, assert_never

from pico_jupyter.chat_kernel.notes import Note
from pico_jupyter.chat_kernel.saved import ANSWER_KEY
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.live import Display, LiveDisplay, Publish, TextDisplay, WholeDisplay
from pico_jupyter.notebook.markdown import printable
from pico_jupyter.notebook.timing import AnswerTiming
from pico_jupyter.sources.calls import Piece

# The speed of a shorter answer is not displayed: its first piece may contain any number of tokens.
LEAST_SECONDS = 0.1

# "cells": a user reads a notebook. "text": a user reads a terminal. "file": a program runs the notebook.
Reader: TypeAlias = Literal["cells", "text", "file"]


class Showable(Protocol):
    """A note, or a table of models."""

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]: ...


class CellOutput:
    """The outputs of one cell. `publish` sends a message with a type and a content."""

    def __init__(self, publish: Publish, reader: Reader) -> None:
        self.reader = reader
        self.publish = publish

    def __repr__(self) -> str:
        return f"<CellOutput for {self.reader}>"

    def note(self, note: Showable) -> None:
        """Display a note."""
        data = note._repr_mimebundle_()
        if self.reader == "text":
            self.write(f"{data['text/plain']}\n")
        else:
            self.publish("display_data", {"data": data, "metadata": {}, "transient": {}})

    def write(self, text: str) -> None:
        """Append text to the cell's stdout."""
        self.publish("stream", {"name": "stdout", "text": text})


class AnswerOutput:
    """Displays a growing answer in `output`."""

    def __init__(self, output: CellOutput, answer: Answer) -> None:
        self._output = output
        self._answer = answer
        self._timing = AnswerTiming()
        self._display = self._new_display()

    def __repr__(self) -> str:
        return f"<AnswerOutput {self._answer!r} {self._timing!r}>"

    def add(self, piece: Piece) -> None:
        """Add a piece to the answer, and update the output if an update is due."""
        self._answer.add(piece)
        if self._answer.text or self._answer.reasoning:
            self._timing.stamp()
        self._display.update(piece, self._answer)

    def end(self) -> None:
        """Display the final state of the answer: complete, stopped or failed."""
        answer = self._answer
        self._display.end(answer)
        if answer.has_begun and self._output.reader == "text":
            reason = "" if answer.finish_reason == "stop" else f" · {answer.finish_reason}"
            self._output.write(f"[{self._figures(with_speed=True)}{reason}]\n")
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
        """Publish a message with the answer in its metadata. The last message also has the token count and speed."""
        answer = self._answer
        if answer.has_begun:
            fields = {"answer": answer.text, "model": answer.model, "finish_reason": answer.finish_reason}
            content = {**content, "metadata": {ANSWER_KEY: fields}}
        if answer.has_begun and answer.finish_reason:
            # Programs that run notebooks get no speed, so that the outputs are the same in every run.
            figures = self._figures(with_speed=self._output.reader != "file")
            markdown = f"{content['data']['text/markdown']}\n\n<small>{figures}</small>"
            content["data"] = {**content["data"], "text/markdown": markdown}
        self._output.publish(kind, content)

    def _figures(self, *, with_speed: bool) -> str:
        """Return the model, the number of tokens and the speed in one line."""
        tokens, seconds = self._answer.usage.completion_tokens, self._timing.decode
        counted = [f"{tokens:,} tokens"] if tokens else []
        speed = [f"{tokens / seconds:.0f} tokens/s"] if with_speed and tokens and seconds > LEAST_SECONDS else []
        return " · ".join([printable(self._answer.model), *counted, *speed])
