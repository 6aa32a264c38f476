"""NotebookChat: runs the cells of one notebook. A cell changes settings, asks the model, or both."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace

from pico_jupyter.chat_kernel.cell import MAGICS, Magic, PromptCell, check_magics, read_cell
from pico_jupyter.chat_kernel.notebook_conversation import CellContent, CellExchange, NotebookConversation
from pico_jupyter.chat_kernel.notes import ChatSettings, note_help, note_settings
from pico_jupyter.chat_kernel.outputs import AnswerOutput, CellOutput
from pico_jupyter.chat_kernel.prompt_media import read_prompt
from pico_jupyter.chat_kernel.saved import SavedCell, SavedNotebook
from pico_jupyter.errors import ContextLengthExceeded, InvalidRequest, MediaUnsupported, ModelNotFound, PicoError
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.chat_arguments import read_reasoning
from pico_jupyter.notebook.models import Models
from pico_jupyter.sources.calls import AnswerRequest, ListedModel, Source, Turn, choose_model

HIGHEST_TEMPERATURE = 2.0
# The form of cell ids in a saved notebook. Consoles and some editors use names of other forms.
CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NotebookChat:
    """The conversation and the settings of one notebook. `find` is called once, and returns the source of answers."""

    def __init__(self, find: Callable[[], Awaitable[Source]], notebook: SavedNotebook) -> None:
        self._find = find
        self._source: Source | None = None
        self._notebook = notebook
        self._settings = ChatSettings()
        self._conversation = NotebookConversation()
        self._ran: set[str] = set()
        self._saved: Mapping[str, SavedCell] = {}
        self._deleted: set[str] = set()

    def __repr__(self) -> str:
        return f"<NotebookChat {self._settings.model or 'first model'} {self._conversation!r}>"

    async def models(self) -> list[ListedModel]:
        """Return the models of the source. Raises PicoError."""
        return await (await self._get_source()).models()

    async def apply_magics(self, source: str) -> PromptCell:
        """Parse a cell, apply its magics, and return the cell. If a magic raises PicoError, no magic is applied."""
        cell = read_cell(source)
        check_magics(cell)
        settings = self._settings
        for magic in cell.magics:
            settings = await self._apply_magic(settings, magic)
        systems = [magic.argument for magic in cell.magics if magic.name == "system"]
        self._settings = replace(settings, system="\n".join(systems)) if systems else settings
        return cell

    async def run(self, source: str, name: str, output: CellOutput, deleted: Iterable[str] = ()) -> None:
        """Run the cell with the id `name`. First removes the cells with the ids `deleted` from the conversation.

        Raises PicoError. Cancelling aborts the request and keeps the text so far.
        """
        if CELL_ID.fullmatch(name):
            await self._read_saved(deleted)
            self._follow_saved(name)
        self._conversation.set(name, CellContent(starts_over=read_cell(source).starts_over))
        cell = await self.apply_magics(source)
        await self._show_notes(cell, output)
        if cell.prompt:
            await self._ask(cell, name, output)

    async def _ask(self, cell: PromptCell, name: str, output: CellOutput) -> None:
        question = read_prompt(cell)
        past = () if cell.starts_over else self._conversation.before(name)
        source, settings = await self._get_source(), self._settings
        model = settings.model or choose_model(await self.models(), (*past, question)).name
        await self._check_media_above(past, model)
        request = AnswerRequest(model, (*past, question), settings.reasoning, settings.system, settings.temperature)
        answer = Answer(request)
        shown = AnswerOutput(output, answer)
        try:
            async with aclosing(source.chat(request)) as pieces:
                async for piece in pieces:
                    shown.add(piece)
        except asyncio.CancelledError:
            answer.end("stopped")
            raise
        except PicoError as error:
            answer.end("failed")
            if past and isinstance(error, ContextLengthExceeded):
                raise ContextLengthExceeded(f"{error.message}; %new starts a new conversation") from None
            raise
        finally:
            if answer.text and answer.finish_reason != "failed":
                self._conversation.set(name, CellContent(CellExchange(question, answer.text), cell.starts_over))
            shown.end()

    async def _check_media_above(self, past: tuple[Turn, ...], model: str) -> None:
        """Refuse media in the cells above if the model lacks vision. The engine's message would not mention cells."""
        if any(turn.attachments for turn in past):
            with_vision = [known.name for known in await self.models() if "vision" in known.capabilities]
            if model not in with_vision:
                advice = "start a new conversation with %new, or choose a model with vision"
                raise MediaUnsupported(f"{model} does not accept the images of the cells above: {advice}", model=model)

    async def _read_saved(self, deleted: Iterable[str]) -> None:
        """Read the saved notebook, and remove deleted cells. The file contains them until it is saved again."""
        saved = await self._notebook.cells()
        if saved is not self._saved:
            self._saved = saved
            self._deleted.clear()
        self._deleted.update(deleted)
        self._conversation.remove(self._deleted)

    def _follow_saved(self, name: str) -> None:
        """Arrange the conversation like the saved notebook. `name` is the cell that runs now.

        If no cell of this session is in the saved notebook, another notebook may have replaced the file.
        """
        self._deleted.discard(name)
        is_first_run = not self._ran
        self._ran.add(name)
        if is_first_run or not self._ran.isdisjoint(self._saved):
            order = [cell for cell in self._saved if cell not in self._deleted]
            self._conversation.arrange(order, lambda cell: self._recover(self._saved[cell]))

    def _recover(self, saved: SavedCell) -> CellContent:
        """Return the content of a saved cell that has not run in this session."""
        cell = read_cell(saved.source)
        starts_over = saved.ran and cell.starts_over
        if saved.answer is None:
            return CellContent(starts_over=starts_over)
        try:
            question = read_prompt(cell)
        except PicoError:
            # A file of the prompt is missing now.
            question = Turn("user", cell.prompt)
        # Another user may have written this notebook, so its URLs are not fetched before its cells run.
        files = tuple(attachment for attachment in question.attachments if attachment.data.startswith("data:"))
        return CellContent(CellExchange(Turn("user", question.content, files), saved.answer), starts_over)

    async def _apply_magic(self, settings: ChatSettings, magic: Magic) -> ChatSettings:
        argument = magic.argument
        match magic.name:
            case "model":
                return replace(settings, model=await self._known_model(argument))
            case "reasoning":
                return replace(settings, reasoning=read_reasoning(argument.lower()))
            case "temperature":
                return replace(settings, temperature=_read_temperature(magic))
            case "image" if not argument:
                raise _wrong_argument(magic)
            case _:
                return settings

    async def _known_model(self, name: str) -> str:
        known = {model.name.lower(): model.name for model in await self.models()}
        if name.lower() in known:
            return known[name.lower()]
        near = difflib.get_close_matches(name.lower(), known, n=1)
        guess = f" Did you mean {known[near[0]]}?" if near else ""
        message = f"there is no model {name!r}.{guess} %models lists the models on this machine."
        raise ModelNotFound(message, param="%model")

    async def _get_source(self) -> Source:
        if self._source is None:
            self._source = await self._find()
        return self._source

    async def _show_notes(self, cell: PromptCell, output: CellOutput) -> None:
        names = {magic.name for magic in cell.magics}
        if "image" in names and not cell.prompt:
            raise InvalidRequest("%image needs a prompt below it", param="%image")
        if "help" in names:
            output.note(note_help())
        if "models" in names:
            output.note(Models(await self.models()))
        if not cell.prompt and names - {"help", "models"}:
            output.note(note_settings(self._settings, starts_over=cell.starts_over))


def _read_temperature(magic: Magic) -> float | None:
    if magic.argument.lower() == "default":
        return None
    try:
        value = float(magic.argument)
    except ValueError:
        raise _wrong_argument(magic) from None
    if not 0 <= value <= HIGHEST_TEMPERATURE:
        raise _wrong_argument(magic)
    return value


def _wrong_argument(magic: Magic) -> InvalidRequest:
    return InvalidRequest(f"wrong argument {magic.argument!r}; {MAGICS[magic.name]}", param=f"%{magic.name}")
