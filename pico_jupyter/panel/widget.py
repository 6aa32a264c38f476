"""ChatPanel: the chat in a cell. The page talks to its server itself; this side keeps the transcript, answers `ask`,
and serves pages that reach no server.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import uuid4

import anywidget
import msgspec
from IPython.display import publish_display_data
from traitlets import Dict, Enum, Float, Int, List, Unicode

from pico_jupyter.errors import EngineUnavailable, PicoError
from pico_jupyter.panel.answer import Answer, new_message
from pico_jupyter.panel.markdown import conversation_markdown
from pico_jupyter.sources.background import shared_loop
from pico_jupyter.sources.calls import ChatCall, Source, read_turns
from pico_jupyter.sources.found import find_source

# Our extension for JupyterLab knows ChatPanel's outputs by this type, which says nothing and so never changes.
PANEL_TYPE = "application/vnd.pico-jupyter.panel+json"
STATIC = Path(__file__).resolve().parent.parent / "static"

if not (STATIC / "widget.js").is_file():
    raise ImportError("the panel's JavaScript is not built: run `make panel` in the repository")


class ChatPanel(anywidget.AnyWidget):
    """A chat with a local model.

    `messages` is the conversation, a list of dicts with at least `role` and `content`; `model`, `reasoning` ("default",
    "on", "off"), `system`, `temperature` (None: the model's own) and `height` (pixels) are what their names say; `file`
    is the conversation's name in the folder of conversations, once it has one. All of them follow what the user does,
    and can be set.
    """

    _esm = STATIC / "widget.js"
    _css = STATIC / "widget.css"

    messages = List(Dict()).tag(sync=True)
    model = Unicode("").tag(sync=True)
    reasoning = Enum(["default", "on", "off"], "default").tag(sync=True)
    system = Unicode("").tag(sync=True)
    temperature = Float(None, allow_none=True).tag(sync=True)
    height = Int(520).tag(sync=True)
    file = Unicode("").tag(sync=True)
    # Tells the panels of a page apart, after a reload too.
    key = Unicode("").tag(sync=True)
    # How the page reaches the models: "http", "kernel", "" while nobody looks.
    transport = Unicode("").tag(sync=True)

    def __init__(self, model: str = "", *, source: Source | None = None, **traits: Any) -> None:
        super().__init__(model=model, key=uuid4().hex[:8], **traits)
        self._source = source
        self._loop = shared_loop()
        self._running: dict[str, concurrent.futures.Future[Any]] = {}
        # Where the page last spoke. ipykernel takes what the page says next to whoever has written to it last, and that
        # must not be a cell that waits for its answer: the page's Stop would wait as well.
        self._page = contextvars.copy_context()
        self.observe(self._remember_page, "transport")
        self.on_msg(self._take_message)

    def __repr__(self) -> str:
        return f"ChatPanel(model={self.model!r}, reasoning={self.reasoning!r}, {len(self.messages)} messages)"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and the conversation as text for where no widget can be: GitHub, nbconvert, a closed kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        text = {"text/plain": repr(self), "text/markdown": self.to_markdown()}
        return {**data, PANEL_TYPE: {"version": 1}, **text}, metadata

    def _ipython_display_(self) -> None:
        """Show the panel in an output that can be renewed."""
        self._publish(update=False)

    def to_markdown(self) -> str:
        """The conversation, for people to read. Safe in any renderer."""
        return conversation_markdown(self.messages)

    def ask(self, text: str) -> str:
        """Ask, wait, and return the answer's text. Raises PicoError. Interrupting the cell stops the model.

        Stopped from elsewhere, it raises CancelledError; `messages` has what came.
        """
        future = self._begin(text)
        try:
            return future.result()
        except KeyboardInterrupt:
            self.stop()
            raise
        except concurrent.futures.CancelledError:
            raise concurrent.futures.CancelledError("the answer was stopped") from None
        finally:
            self._show_all()

    async def aask(self, text: str) -> str:
        """Ask, and return the answer's text when it is there. Raises PicoError. Cancelling stops the model."""
        try:
            return await asyncio.wrap_future(self._begin(text))
        finally:
            self._show_all()

    def stop(self) -> None:
        """Stop whatever is being written, wherever it is."""
        self.send({"type": "stop"})
        for future in list(self._running.values()):
            future.cancel()

    def _show_all(self) -> None:
        """Have the page, and where there is none, as in nbconvert, the outputs, show what was said."""
        self.send_state("messages")
        if not self.transport:
            self._publish(update=True)

    def _publish(self, update: bool) -> None:
        data, metadata = self._repr_mimebundle_()
        identity = {"display_id": self.model_id}
        # IPython gives this function no types.
        publish_display_data(data, metadata, transient=identity, update=update)  # type: ignore[no-untyped-call]

    def _begin(self, text: str) -> concurrent.futures.Future[str]:
        return self._track(uuid4().hex, self._page.copy().run(self._loop.submit, self._answer(text)))

    def _track(self, key: str, future: concurrent.futures.Future[Any]) -> concurrent.futures.Future[Any]:
        self._running[key] = future
        future.add_done_callback(lambda _: self._running.pop(key, None))
        return future

    async def _answer(self, text: str) -> str:
        source = await self._found_source()
        model = self.model or await _first_model(source)
        past = [*self.messages, new_message("user", content=text)]
        call = ChatCall(model, read_turns(past), self.reasoning, self.system, self.temperature)
        answer = Answer(model)
        self.messages = [*past, answer.message()]
        try:
            async with aclosing(source.chat(call)) as pieces:
                async for piece in pieces:
                    if answer.take(piece):
                        self.messages = [*past, answer.message()]
            answer.end("done")
        except PicoError as error:
            answer.end("failed", error=error.message)
            raise
        except asyncio.CancelledError:
            answer.end("stopped")
            raise
        finally:
            self.messages = [*past, answer.message()]
        return answer.content

    async def _found_source(self) -> Source:
        """The server that this kernel belongs to, or an engine of its own. Looked for once."""
        if self._source is None:
            self._source = await find_source()
        return self._source

    def _remember_page(self, _: object = None) -> None:
        self._page = contextvars.copy_context()

    def _take_message(self, _: object, message: dict[str, Any], buffers: object) -> None:
        """What the page asks for: chats and models, where it reaches no server, and stops."""
        self._remember_page()
        kind, key = message.get("type"), str(message.get("id", ""))
        if kind == "stop":
            self.stop()
        elif kind == "abort":
            if key in self._running:
                self._running[key].cancel()
        elif kind in ("chat", "models", "memory", "load", "unload"):
            self._track(key, self._loop.submit(self._serve(kind, key, message.get("content") or {})))

    async def _serve(self, kind: str, key: str, content: dict[str, Any]) -> None:
        """Answer one request of the page."""
        try:
            source = await self._found_source()
            if kind == "chat":
                await self._serve_chat(source, key, msgspec.convert(content, ChatCall))
            elif kind == "models":
                self.send({"type": "models", "id": key, "models": msgspec.to_builtins(await source.models())})
            elif kind == "memory":
                self.send({"type": "memory", "id": key, "memory": msgspec.to_builtins(await source.memory())})
            else:
                await (source.load if kind == "load" else source.unload)(str(content["name"]))
                self.send({"type": "done", "id": key})
        except (PicoError, msgspec.ValidationError) as error:
            self.send({"type": "failed", "id": key, "message": str(getattr(error, "message", error))})

    async def _serve_chat(self, source: Source, key: str, call: ChatCall) -> None:
        async with aclosing(source.chat(call)) as pieces:
            async for piece in pieces:
                self.send({"type": "pieces", "id": key, "pieces": [msgspec.to_builtins(piece)]})
        self.send({"type": "done", "id": key})


async def _first_model(source: Source) -> str:
    models = await source.models()
    if not models:
        raise EngineUnavailable("there is no model on this machine")
    return models[0].name
