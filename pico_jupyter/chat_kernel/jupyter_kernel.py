"""ChatKernel: handles Jupyter's messages for a NotebookChat.

Invariants:
- All methods except `interrupt_request` and `do_shutdown` run in the event loop of the main thread.
- One cell runs at a time. Cancelling the task of a cell aborts its answer.
"""

from __future__ import annotations

import asyncio
import fnmatch
import traceback
from typing import Any, ClassVar

from ipykernel import kernel_protocol_version
from ipykernel.kernelbase import Kernel

from pico_jupyter import __version__
from pico_jupyter.chat_kernel.cell import MAGICS
from pico_jupyter.chat_kernel.notebook_chat import NotebookChat
from pico_jupyter.chat_kernel.notes import note_magic
from pico_jupyter.chat_kernel.outputs import CellOutput, Reader
from pico_jupyter.chat_kernel.prompt_completion import complete, word_at
from pico_jupyter.chat_kernel.session_notebook import this_notebook
from pico_jupyter.errors import PicoError
from pico_jupyter.notebook.models import Models
from pico_jupyter.sources.calls import ListedModel
from pico_jupyter.sources.discovery import find_source

FENCES = ("```", "~~~")


class ChatKernel(Kernel):  # type: ignore[misc]  # ipykernel is imported without its types
    """A kernel whose cells are prompts."""

    implementation = "pico_jupyter"
    implementation_version = __version__
    banner = f"Pico chat {__version__}: each cell is a prompt for a model on this machine. %help lists the magics."
    language_info: ClassVar[dict[str, object]] = {
        "name": "markdown",
        "version": "",
        "mimetype": "text/markdown",
        "codemirror_mode": "markdown",
        "pygments_lexer": "markdown",
        "file_extension": ".md",
    }

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.help_links = [{"text": "Markdown", "url": "https://commonmark.org/help/"}]
        self._chat = NotebookChat(find_source, this_notebook(self.parent.connection_file))
        self._running: asyncio.Task[Any] | None = None
        self._inputs: list[tuple[int, str]] = []

    def __repr__(self) -> str:
        return f"<ChatKernel {self._chat!r}>"

    @property
    def kernel_info(self) -> dict[str, Any]:
        """The content of kernel_info_reply. This kernel has neither a debugger nor subshells."""
        return {
            "protocol_version": kernel_protocol_version,
            "implementation": self.implementation,
            "implementation_version": self.implementation_version,
            "language_info": self.language_info,
            "banner": self.banner,
            "help_links": self.help_links,
            "supported_features": [],
        }

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, str] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: dict[str, Any] | None = None,
        cell_id: str | None = None,
    ) -> dict[str, Any]:
        """Run a cell. A silent cell only applies its magics, because its answer would not be displayed."""
        if store_history and not silent:
            self._inputs.append((self.execution_count, code))
        self._running = asyncio.create_task(self._run(code, silent, cell_id, cell_meta or {}, allow_stdin))
        try:
            await self._running
        except asyncio.CancelledError:
            return self._failure("KeyboardInterrupt", "stopped")
        except PicoError as error:
            return self._report_failure(type(error).__name__, error.message, silent)
        except Exception as error:  # noqa: BLE001  the front end waits for a reply
            # The message is not logged, because it may quote a prompt.
            trace = "".join(traceback.format_tb(error.__traceback__))
            self.log.error("a cell failed: %s\n%s", type(error).__name__, trace)
            message = "the kernel failed; see the log of the Jupyter server"
            return self._report_failure(type(error).__name__, message, silent)
        finally:
            self._running = None
        unknown = self._failure("NotSupported", "this kernel does not evaluate expressions")
        expressions = dict.fromkeys(user_expressions or {}, unknown)
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": expressions}

    async def interrupt_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Stop the running answer. Runs on the control thread."""
        self.io_loop.add_callback(self._stop)
        self.session.send(stream, "interrupt_reply", {"status": "ok"}, parent, ident=ident)

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """Stop the running answer. Runs on the control thread."""
        self.io_loop.add_callback(self._stop)
        return {"status": "ok", "restart": restart}

    async def do_is_complete(self, code: str) -> dict[str, Any]:
        """Tell terminals that an input is incomplete if it ends in a backslash or has an open code fence."""
        fences = sum(line.strip().startswith(FENCES) for line in code.splitlines())
        is_incomplete = fences % 2 == 1 or code.endswith("\\")
        return {"status": "incomplete", "indent": ""} if is_incomplete else {"status": "complete"}

    async def do_complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        """Complete magics, names of models, and paths."""
        found = await complete(code, cursor_pos, self._models)
        span = {"cursor_start": found.start, "cursor_end": cursor_pos}
        return {"status": "ok", "matches": found.matches, **span, "metadata": {}}

    async def do_inspect(
        self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()
    ) -> dict[str, Any]:
        """Return the help of the magic at the cursor, or the table row of the model at the cursor."""
        word = word_at(code, cursor_pos)
        magic = word.lstrip("%").lower() if word.startswith("%") else ""
        if magic in MAGICS:
            data = note_magic(magic)._repr_mimebundle_()
        else:
            models = Models(model for model in await self._models() if model.name == word)
            data = models._repr_mimebundle_() if models else {}
        return {"status": "ok", "found": bool(data), "data": data, "metadata": {}}

    async def do_history(
        self,
        *,
        hist_access_type: str,
        output: bool,
        raw: bool,
        session: int = 0,
        start: int = 0,
        stop: int | None = None,
        n: int | None = None,
        pattern: str = "*",
        unique: bool = False,
    ) -> dict[str, Any]:
        """Return the prompts of this kernel. They belong to session 1, which began when the kernel started."""
        inputs = self._inputs
        if hist_access_type == "range":
            inputs = [entry for entry in inputs if start <= entry[0] and (stop is None or entry[0] < stop)]
        elif hist_access_type == "search":
            inputs = [entry for entry in inputs if fnmatch.fnmatchcase(entry[1], pattern)]
        if unique:
            latest = {code: line for line, code in inputs}
            inputs = [(line, code) for code, line in latest.items()]
        if n is not None and hist_access_type != "range":
            inputs = inputs[max(0, len(inputs) - n) :]
        return {"status": "ok", "history": [(1, line, (code, None) if output else code) for line, code in inputs]}

    def pre_handler_hook(self) -> None:
        """Do nothing. ipykernel would enable SIGINT here, but this kernel is interrupted by messages only."""

    def post_handler_hook(self) -> None:
        """Do nothing, see pre_handler_hook."""

    def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()

    async def _run(self, code: str, silent: bool, cell_id: str | None, meta: dict[str, Any], allow_stdin: bool) -> None:
        if silent:
            await self._chat.apply_magics(code)
            return
        # Programs that run notebooks do not allow input. Consoles send no cell ids.
        reader: Reader = "file" if not allow_stdin else "cells" if cell_id else "text"
        name = cell_id or f"execution {self.execution_count}"
        await self._chat.run(code, name, CellOutput(self._show, reader), meta.get("deletedCells") or ())

    def _show(self, kind: str, content: dict[str, Any]) -> None:
        self.send_response(self.iopub_socket, kind, content)

    async def _models(self) -> list[ListedModel]:
        """Return the models for completion, or an empty list after an error."""
        try:
            return await self._chat.models()
        except PicoError:
            return []

    def _report_failure(self, name: str, message: str, silent: bool) -> dict[str, Any]:
        failure = self._failure(name, message)
        if not silent:
            self._show("error", {key: failure[key] for key in ("ename", "evalue", "traceback")})
        return failure

    def _failure(self, name: str, message: str) -> dict[str, Any]:
        count = self.execution_count
        return {"status": "error", "execution_count": count, "ename": name, "evalue": message, "traceback": [message]}
