"""What a cell does: set something, ask, or both. Knows no Jupyter message; what it shows goes to an Output."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace

from pico_jupyter.chat_kernel.cell import MAGICS, Cell, Magic, check, read_cell
from pico_jupyter.chat_kernel.conversation import Conversation, Exchange, Said
from pico_jupyter.chat_kernel.notes import Settings, note_help, note_settings
from pico_jupyter.chat_kernel.outputs import AnswerOutput, Output
from pico_jupyter.chat_kernel.pictures import read_question
from pico_jupyter.chat_kernel.saved import SavedCell, SavedNotebook
from pico_jupyter.errors import ContextLengthExceeded, InvalidRequest, MediaUnsupported, ModelNotFound, PicoError
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.models import Models, choose_model
from pico_jupyter.notebook.questions import read_reasoning
from pico_jupyter.sources.calls import ChatCall, Model, Source, Turn

HIGHEST_TEMPERATURE = 2.0
# Cells of other names are in no notebook: those of consoles, and of editors that have names of their own.
CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Chat:
    """One notebook's conversation with its settings. `find` finds who answers; it is called once."""

    def __init__(self, find: Callable[[], Awaitable[Source]], notebook: SavedNotebook) -> None:
        self._find = find
        self._source: Source | None = None
        self._notebook = notebook
        self._settings = Settings()
        self._conversation = Conversation()
        self._here: set[str] = set()
        self._saved: Mapping[str, SavedCell] = {}
        self._deleted: set[str] = set()

    def __repr__(self) -> str:
        return f"<Chat {self._settings.model or 'with the first model'} {self._conversation!r}>"

    async def models(self) -> list[Model]:
        """The models that can answer. Raises PicoError."""
        return await (await self._found()).models()

    async def set(self, source: str) -> Cell:
        """Do what the cell's magics say, all or nothing, and return the cell. Raises PicoError."""
        cell = read_cell(source)
        check(cell)
        settings = self._settings
        for magic in cell.magics:
            settings = await self._changed(settings, magic)
        systems = [magic.argument for magic in cell.magics if magic.name == "system"]
        self._settings = replace(settings, system="\n".join(systems)) if systems else settings
        return cell

    async def run(self, source: str, name: str, output: Output, deleted: Iterable[str] = ()) -> None:
        """Run the cell of this name; those of the names `deleted` are no more.

        Raises PicoError. Cancelling stops the model and keeps what it has said.
        """
        if CELL_ID.fullmatch(name):
            await self._look(deleted)
            self._arrange(name)
        self._conversation.put(name, Said(anew=read_cell(source).is_anew))
        cell = await self.set(source)
        await self._note(cell, output)
        if cell.prompt:
            await self._ask(cell, name, output)

    async def _ask(self, cell: Cell, name: str, output: Output) -> None:
        question = read_question(cell)
        past = () if cell.is_anew else self._conversation.before(name)
        source, settings = await self._found(), self._settings
        model = settings.model or choose_model(await self.models(), (*past, question)).name
        await self._check_pictures_above(past, model)
        answer = Answer(ChatCall(model, (*past, question), settings.reasoning, settings.system, settings.temperature))
        shown = AnswerOutput(output, answer)
        try:
            async with aclosing(source.chat(answer.call)) as pieces:
                async for piece in pieces:
                    shown.take(piece)
        except asyncio.CancelledError:
            answer.end("stopped")
            raise
        except PicoError as error:
            answer.end("failed")
            if past and isinstance(error, ContextLengthExceeded):
                raise ContextLengthExceeded(f"{error.message}; %new forgets the cells above") from None
            raise
        finally:
            if answer.text and answer.finish_reason != "failed":
                self._conversation.put(name, Said(Exchange(question, answer.text), cell.is_anew))
            shown.end()

    async def _check_pictures_above(self, past: tuple[Turn, ...], model: str) -> None:
        """The model itself would refuse them too, and not say that they are those of other cells."""
        if any(turn.attachments for turn in past):
            seeing = [known.name for known in await self.models() if "vision" in known.capabilities]
            if model not in seeing:
                advice = "%new forgets them, or choose a model that can"
                raise MediaUnsupported(f"{model} cannot see, and there are pictures above: {advice}", model=model)

    async def _look(self, deleted: Iterable[str]) -> None:
        """Look at the saved notebook. One that was saved again knows itself what was deleted before."""
        saved = await self._notebook.cells()
        if saved is not self._saved:
            self._saved = saved
            self._deleted.clear()
        self._deleted.update(deleted)
        self._conversation.remove(self._deleted)

    def _arrange(self, name: str) -> None:
        """Follow the saved notebook, if it is the one of this cell: an older one's name may have come to another."""
        self._deleted.discard(name)
        if name in self._saved or not self._here or not self._here.isdisjoint(self._saved):
            order = [cell for cell in self._saved if cell not in self._deleted]
            self._conversation.arrange(order, lambda cell: self._recover(self._saved[cell]))
        self._here.add(name)

    def _recover(self, saved: SavedCell) -> Said:
        cell = read_cell(saved.source)
        anew = saved.ran and cell.is_anew
        if saved.answer is None:
            return Said(anew=anew)
        try:
            question = read_question(cell)
        except PicoError:
            # The picture is no longer there.
            question = Turn("user", cell.prompt)
        # Of a notebook that somebody else may have written nothing is fetched before its cells are run.
        here = tuple(attachment for attachment in question.attachments if attachment.data.startswith("data:"))
        question = Turn("user", question.content, here)
        return Said(Exchange(question, saved.answer), anew)

    async def _changed(self, settings: Settings, magic: Magic) -> Settings:
        argument = magic.argument
        match magic.name:
            case "model":
                return replace(settings, model=await self._known_model(argument))
            case "reasoning":
                return replace(settings, reasoning=read_reasoning(argument.lower()))
            case "temperature":
                return replace(settings, temperature=_read_temperature(magic))
            case "image" if not argument:
                raise _misused(magic)
            case _:
                return settings

    async def _known_model(self, name: str) -> str:
        names = [model.name for model in await self.models()]
        known = {known.lower(): known for known in names}
        if name.lower() in known:
            return known[name.lower()]
        near = difflib.get_close_matches(name.lower(), known, n=1)
        guess = f" Did you mean {known[near[0]]}?" if near else ""
        raise ModelNotFound(f"there is no model {name!r}.{guess} %models lists those on this machine.", param="%model")

    async def _found(self) -> Source:
        if self._source is None:
            self._source = await self._find()
        return self._source

    async def _note(self, cell: Cell, output: Output) -> None:
        names = {magic.name for magic in cell.magics}
        if "image" in names and not cell.prompt:
            raise InvalidRequest("%image goes along with a prompt: write it below", param="%image")
        if "help" in names:
            output.note(note_help())
        if "models" in names:
            output.note(Models(await self.models()))
        if not cell.prompt and names - {"help", "models"}:
            output.note(note_settings(self._settings, is_anew=cell.is_anew))


def _read_temperature(magic: Magic) -> float | None:
    if magic.argument.lower() == "default":
        return None
    try:
        value = float(magic.argument)
    except ValueError:
        raise _misused(magic) from None
    if not 0 <= value <= HIGHEST_TEMPERATURE:
        raise _misused(magic)
    return value


def _misused(magic: Magic) -> InvalidRequest:
    return InvalidRequest(f"it is {MAGICS[magic.name]}; not {magic.argument!r}", param=f"%{magic.name}")
