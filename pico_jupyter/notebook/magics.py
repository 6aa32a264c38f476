"""The IPython extension: the magics %%chat, %chat, %fix, %explain and %pico."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand

from pico_jupyter.errors import InvalidRequest, PicoError
from pico_jupyter.notebook.chat_line import ChatLine
from pico_jupyter.notebook.chat_options import ChatOptions, describe_options, read_options
from pico_jupyter.notebook.commands import describe_commands
from pico_jupyter.notebook.connection import Pico, connect
from pico_jupyter.notebook.front_ends import choose_display, current_cell
from pico_jupyter.notebook.interpolation import evaluate, interpolate, is_expression
from pico_jupyter.notebook.last_cell import LastCell
from pico_jupyter.notebook.magic_completion import words_at
from pico_jupyter.notebook.magics_conversation import MagicsConversation
from pico_jupyter.notebook.models import Models
from pico_jupyter.notebook.streams import AnswerStream
from pico_jupyter.sizes import about
from pico_jupyter.sources.calls import Reasoning

CODE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.DOTALL | re.M)
PYTHON = ("python", "py", "python3", "ipython", "")


@magics_class
class ChatMagics(Magics):
    """Magics that ask local models. Each cell continues the conversation of the cells before it."""

    def __init__(self, shell: InteractiveShell, connect: Callable[[], Pico] = connect) -> None:
        super().__init__(shell)
        self._shell = shell
        self._connect = connect
        self._conversation = MagicsConversation()
        self._last_cell = LastCell()
        _register(shell.events.callbacks["post_run_cell"], self._last_cell.record)
        self._model = ""
        self._reasoning: Reasoning = "default"

    def __repr__(self) -> str:
        return f"<ChatMagics {self._conversation!r}>"

    @no_var_expand
    @line_cell_magic
    def chat(self, line: str, cell: str | None = None) -> None:
        """Ask a local model: %%chat [options] with the question below it, or %chat [options] question.

        The answer appears as the model generates it, and is stored in the variable `answer`. In the question and the
        system message, {name}, {name.attribute} and {name[0]} are replaced by the values of your variables. {{name}}
        becomes {name}, and all other braces stay as they are. With --schema, `answer.parsed` is the answer's value.

        Each cell continues the conversation of the cells that ran before it. When a cell runs again, its old answer
        and the answers of all cells that ran after it are removed from the conversation first. In a terminal, cells
        have no ids, so each question is added at the end.
        """
        with _errors_in_one_line():
            self._ask(read_options(line, cell))

    def _ask(self, options: ChatOptions) -> None:
        variables = self._shell.user_ns
        cell = current_cell(self._shell)
        pieces = self._connect().chat(
            interpolate(options.question, variables),
            model=options.model or self._model,
            system=interpolate(options.system, variables),
            reasoning=options.reasoning or self._reasoning,
            images=[image for word in options.images for image in self._images(word)],
            temperature=options.temperature,
            max_tokens=options.max_tokens,
            seed=options.seed,
            schema=self._schema(options.schema),
            history=[] if options.new else self._conversation.before(cell),
            stream=True,
        )
        answer = variables[options.into] = pieces.answer
        try:
            self._show(pieces)
        finally:
            self._conversation.add(cell, answer, starts_over=options.new)
        if options.code:
            self._insert_code(answer.text)

    def _show(self, pieces: AnswerStream) -> None:
        """Display an answer as the model generates it."""
        display = choose_display(self._shell)
        try:
            for piece in pieces:
                display.update(piece, pieces.answer)
        finally:
            pieces.close()
            display.end(pieces.answer)

    @no_var_expand
    @line_magic
    def fix(self, line: str) -> None:
        """Correct the cell that ran last and failed: %fix [what to mind].

        A local model gets the cell and the error. The corrected cell is inserted below, and nothing runs.
        """
        with _errors_in_one_line():
            self._insert_code(self._ask_about_cell(self._last_cell.fix(line.strip())))

    @no_var_expand
    @line_magic
    def explain(self, line: str) -> None:
        """Explain the cell that ran last, or its error: %explain [what to explain].

        A local model gets the cell, and the error if it failed.
        """
        with _errors_in_one_line():
            self._ask_about_cell(self._last_cell.explain(line.strip()))

    def _ask_about_cell(self, question: str) -> str:
        pieces = self._connect().chat(question, model=self._model, reasoning=self._reasoning, stream=True)
        self._show(pieces)
        return pieces.answer.text

    def _schema(self, name: str) -> Any:
        """Return the value of `name`, the variable or expression of --schema; None if it is empty."""
        if name and not is_expression(name):
            raise InvalidRequest(f"--schema {name}: not the name of a variable, an attribute or an item")
        return evaluate(name, self._shell.user_ns) if name else None

    def _images(self, word: str) -> list[Any]:
        """Return the images of an --image: the value of a variable, the items of a list, or else `word`, a path."""
        name = re.split(r"[.\[]", word, maxsplit=1)[0]
        if name not in self._shell.user_ns or not is_expression(word):
            return [word]
        value = evaluate(word, self._shell.user_ns)
        return list(value) if isinstance(value, list | tuple) else [value]

    def _insert_code(self, text: str) -> None:
        code = code_of(text)
        if code:
            self._shell.set_next_input(code)
        else:
            print("The answer contains no code.")

    @no_var_expand
    @line_magic
    def pico(self, line: str) -> Models | None:
        """Show and change the models and settings of %%chat."""
        command, _, argument = line.strip().partition(" ")
        argument = argument.strip()
        with _errors_in_one_line():
            if command in ("models", "ps") and not argument:
                models = self._connect().models
                return models if command == "models" else Models(m for m in models if m.resident is not None)
            print(self._run_command(command, argument))
        return None

    def _run_command(self, command: str, argument: str) -> str:
        match command, argument:
            case "", "":
                return self._status()
            case "pull", name if name:
                self._connect().pull(name)
                return f"{name} is on this machine."
            case "rm", name if name:
                return f"{name} is deleted; this freed {about(self._connect().remove(name))}."
            case "load", name if name:
                self._connect().load(name)
                return f"{name} is in memory."
            case "unload", name if name:
                self._connect().unload(name)
                return f"{name} is not in memory."
            case "model", name if name:
                return self._set_model(name)
            case "reasoning", "on" | "off" | "default":
                self._reasoning = argument
                return f"reasoning: {argument}"
            case "new", "":
                self._conversation.clear()
                return "New conversation."
            case _:
                asked = f"%pico {command} {argument}".rstrip()
                raise InvalidRequest(f"{asked}: there is no such command. The commands are:\n{describe_commands()}")

    def _set_model(self, name: str) -> str:
        names = self._connect().models.names
        if name not in (*names, "default"):
            raise InvalidRequest(f"there is no model {name!r}. The models are: {', '.join(names)}")
        self._model = "" if name == "default" else name
        return f"model: {self._model or self._connect().default_model}"

    def _status(self) -> str:
        pico = self._connect()
        resident = [model.name for model in pico.models if model.resident is not None]
        answers = len(self._conversation)
        lines = {
            "answers come from": pico.origin,
            "model": self._model or pico.default_model,
            "reasoning": self._reasoning,
            "conversation": "empty" if answers == 0 else "1 answer" if answers == 1 else f"{answers} answers",
            "in memory": ", ".join(resident) or "no model",
        }
        return "\n".join(f"{name:<19}{value}" for name, value in lines.items())

    def match(self, context: CompletionContext) -> SimpleMatcherResult:
        """Return the completions for IPython's completer. If there are any, all other completions are suppressed."""
        is_body = context.cursor_line > 0 and context.full_text.startswith("%%")
        words = [] if is_body else words_at(context.text_until_cursor, self._names)
        found = {"completions": [SimpleCompletion(word) for word in words], "suppress": bool(words)}
        return cast(SimpleMatcherResult, found)

    def _names(self) -> list[str]:
        try:
            return self._connect().models.names
        except PicoError:
            return []


def load(shell: InteractiveShell) -> None:
    """Register the magics, their completer, and ChatLine."""
    magics = ChatMagics(shell)
    shell.register_magics(magics)

    @context_matcher()  # type: ignore[untyped-decorator]  # not annotated in IPython
    def pico_matcher(context: CompletionContext) -> SimpleMatcherResult:
        return magics.match(context)

    _register(shell.Completer.custom_matchers, pico_matcher)
    _register(shell.input_transformer_manager.token_transformers, ChatLine)


def _register(functions: list[Any], function: Any) -> None:
    """Append `function`. If an earlier load() has appended its own version, remove that one."""
    functions[:] = [known for known in functions if getattr(known, "__qualname__", "") != function.__qualname__]
    functions.append(function)


def code_of(text: str) -> str:
    """Return the Python code of an answer, or the code in other languages if it has no Python."""
    blocks = [(language.lower(), code.strip("\n")) for _, language, code in CODE.findall(text)]
    python = [code for language, code in blocks if language in PYTHON]
    return "\n\n".join(python or [code for _, code in blocks])


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Show errors in one line. A traceback through this package would not help the user."""
    try:
        yield
    except InvalidRequest as error:
        raise UsageError(error.message) from None
    except (PicoError, KeyboardInterrupt) as error:
        message = error.message if isinstance(error, PicoError) else "stopped"
        lines = [f"{type(error).__name__}: {message}"]
        error._render_traceback_ = lambda: lines  # type: ignore[union-attr]  # IPython calls it if it exists
        raise


# The help ends with the lists that the parsers use, so the help and the parsers never differ.
ChatMagics.chat.__doc__ = f"{inspect.getdoc(ChatMagics.chat)}\n\n{describe_options()}"
ChatMagics.pico.__doc__ = f"{inspect.getdoc(ChatMagics.pico)}\n\n{describe_commands()}"
