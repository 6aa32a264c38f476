"""`jupyter pico run`: a conversation in the terminal, over any Source of answers."""

from __future__ import annotations

import asyncio
import shlex
import sys
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec

from pico_jupyter.errors import ContextLengthExceeded, PicoError, ReasoningUnsupported
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.live import TextDisplay
from pico_jupyter.sources.attachments import attach_file
from pico_jupyter.sources.calls import AnswerRequest, Attachment, MediaKind, ProgressPiece, Source, Turn

HELP = """\
/think on|off|default   switch reasoning
/system TEXT            set the system message; without TEXT, remove it
/image FILE             attach an image to the next question
/video FILE             attach a video to the next question
/clear                  start a new conversation
/bye                    exit (also Ctrl-D); Ctrl-C stops an answer"""


@dataclass(slots=True)
class TerminalChat:
    """A conversation. `request` has its settings and messages so far; `attachments` are sent with the next question."""

    source: Source
    runner: asyncio.Runner
    request: AnswerRequest
    attachments: list[Attachment] = field(default_factory=list)

    def ask(self, question: str) -> None:
        """Ask, and print the answer as the model generates it. Raises PicoError. Ctrl-C aborts the request.

        The question and the answer are added to the conversation once the answer is complete.
        """
        messages = (*self.request.messages, Turn("user", question, tuple(self.attachments)))
        self.attachments.clear()
        answer = self.runner.run(self._print_answer(msgspec.structs.replace(self.request, messages=messages)))
        self._change(messages=(*messages, Turn("assistant", answer.text)))

    async def _print_answer(self, request: AnswerRequest) -> Answer:
        await self._check_reasoning(request)
        answer = Answer(request)
        display = TextDisplay(_write, dims=sys.stdout.isatty())
        try:
            async with aclosing(self.source.chat(request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, ProgressPiece) and piece.total:
                        _print_status(f"getting ready: {piece.done * 100 // piece.total} %\r", end="")
                    answer.add(piece)
                    display.update(piece, answer)
        finally:
            display.end(answer)
        return answer

    async def _check_reasoning(self, request: AnswerRequest) -> None:
        """Raise ReasoningUnsupported for a model without reasoning. An OpenAI endpoint would ignore the setting."""
        if request.reasoning == "on":
            for model in await self.source.models():
                if model.name == request.model and "thinking" not in model.capabilities:
                    raise ReasoningUnsupported(f'"{model.name}" does not support thinking', model=model.name)

    def converse(self) -> None:
        """Read questions and commands from the terminal until Ctrl-D or /bye."""
        _print_status(f"{self.request.model}: /? for help, Ctrl-D to exit")
        while True:
            try:
                line = input(">>> ").strip()
            except EOFError:
                _print_status()
                return
            except KeyboardInterrupt:
                _print_status("\nCtrl-D or /bye to exit")
                continue
            if line in {"/bye", "/exit", "/quit"}:
                return
            if line.startswith("/"):
                _print_status(self._run_command(line))
            elif line:
                self._try_to_ask(line)

    def _try_to_ask(self, question: str) -> None:
        try:
            self.ask(question)
        except KeyboardInterrupt:
            _print_status("stopped")
        except ContextLengthExceeded as error:
            _print_status(f"error: {error.message}; /clear starts a new conversation")
        except PicoError as error:
            _print_status(f"error: {error.message}")

    def _run_command(self, line: str) -> str:
        """Run a command that begins with a slash, and return its message."""
        command, _, argument = line[1:].partition(" ")
        argument = argument.strip()
        match command:
            case "think" if argument in ("on", "off", "default"):
                self._change(reasoning=argument)
                return f"reasoning: {argument}"
            case "system":
                self._change(system=argument)
                return "system message set" if argument else "no system message"
            case "image" | "video" if argument:
                return self._attach(command, parse_path(argument))
            case "clear":
                self._change(messages=())
                self.attachments.clear()
                return "new conversation"
            case _:
                return HELP

    def _attach(self, kind: MediaKind, path: str) -> str:
        try:
            self.attachments.append(attach_file(kind, path))
        except PicoError as error:
            return f"error: {error.message}"
        return f"{path} will be sent with the next question"

    def _change(self, **fields: object) -> None:
        self.request = msgspec.structs.replace(self.request, **fields)


def parse_path(typed: str) -> str:
    """Remove quotes and escapes from a path. Terminals add them to the path of a file that is dropped on them."""
    try:
        words = shlex.split(typed)
    except ValueError:
        return typed
    return words[0] if len(words) == 1 else typed


def _write(text: str) -> None:
    print(text, end="", flush=True)


def _print_status(text: str = "", end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)
