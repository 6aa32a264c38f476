"""ChatPanel: a chat panel in an output cell.

The page in the browser sends requests to its Jupyter server directly. The Python side keeps the transcript, implements
`ask`, and answers the requests of pages that cannot reach a server.
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

from pico_jupyter.errors import InvalidRequest, PicoError
from pico_jupyter.panel.answer_message import AnswerMessage, new_message
from pico_jupyter.panel.transcript import conversation_markdown
from pico_jupyter.sources.background import shared_loop
from pico_jupyter.sources.calls import AnswerRequest, Source, choose_model, read_turns
from pico_jupyter.sources.discovery import find_source

# Our JupyterLab extension recognizes ChatPanel's outputs by this type. Its content is only a version number.
PANEL_TYPE = "application/vnd.pico-jupyter.panel+json"
STATIC = Path(__file__).resolve().parent.parent / "static"

if not (STATIC / "widget.js").is_file():
    raise ImportError("the panel's JavaScript is not built: run `make panel` in the repository")


class ChatPanel(anywidget.AnyWidget):
    """A chat panel for a local model. Display it as the last value of a cell.

    Python code can set each trait, and the user's actions in the panel change the traits:

    - `messages`: the transcript, a list of dicts with at least `role` ("user" or "assistant") and `content`.
    - `model`: the name of the model ("": the first model).
    - `reasoning`: "default" (the model's default), "on" or "off".
    - `system`: the system message ("": none).
    - `temperature`: 0 to 2 (None: the model's default).
    - `height`: the height in pixels (default 520).
    - `file`: the name of the conversation's file in the folder of conversations ("": not saved).

    `source` replaces the server or engine that `connect()` would use.
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
    # Identifies this panel on its page, also after a reload.
    key = Unicode("").tag(sync=True)
    # How the page reaches the models: "http" or "kernel"; "" while no page displays the panel.
    transport = Unicode("").tag(sync=True)

    def __init__(self, model: str = "", *, source: Source | None = None, **traits: Any) -> None:
        super().__init__(model=model, key=uuid4().hex[:8], **traits)
        self._source = source
        self._loop = shared_loop()
        self._running: dict[str, concurrent.futures.Future[Any]] = {}
        # The context of the page's latest message, in which Python sends to the page. ipykernel 7 queues the page's
        # next message behind the request of that context. Behind a cell in `ask`, a stop would wait for the cell's end.
        self._page = contextvars.copy_context()
        self.observe(self._remember_page, "transport")
        self.on_msg(self._handle_message)

    def __repr__(self) -> str:
        return f"ChatPanel(model={self.model!r}, reasoning={self.reasoning!r}, {len(self.messages)} messages)"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the widget, and the transcript as text for GitHub, nbconvert and notebooks without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        text = {"text/plain": repr(self), "text/markdown": self.to_markdown()}
        return {**data, PANEL_TYPE: {"version": 1}, **text}, metadata

    def _ipython_display_(self) -> None:
        """Display the panel in an output that can be updated later."""
        self._publish(update=False)

    def to_markdown(self) -> str:
        """Return the transcript as Markdown that is safe in any renderer."""
        return conversation_markdown(self.messages)

    def ask(self, text: str) -> str:
        """Ask the model, wait, and return the text of its answer.

        Raises PicoError if the request fails, and concurrent.futures.CancelledError if the user or `stop` stops the
        answer; `messages` then has the answer so far. An interrupt of the cell aborts the request.
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
        """Like `ask`, for coroutines. Cancelling aborts the request."""
        try:
            return await asyncio.wrap_future(self._begin(text))
        finally:
            self._show_all()

    def act(self, text: str) -> None:
        """Let the assistant work in the notebook that contains the panel. Does not wait for it.

        The page asks for your approval as usual, and `messages` shows the steps. It refuses unless the setting
        "Act: allow panel.act()" of Pico Chat is on. Raises InvalidRequest if no page displays the panel, or `text` is
        empty.
        """
        if not text.strip():
            raise InvalidRequest("the text is empty")
        if self.transport != "http":
            raise InvalidRequest("act() needs a page of JupyterLab or Notebook 7 that displays this panel")
        self.send({"type": "act", "text": text})

    def stop(self) -> None:
        """Abort all running requests of this panel, including those of its page."""
        self.send({"type": "stop"})
        for future in list(self._running.values()):
            future.cancel()

    def _show_all(self) -> None:
        """Send the messages to the page. If there is no page, as in nbconvert, update the output of the cell too."""
        self.send_state("messages")
        if not self.transport:
            self._publish(update=True)

    def _publish(self, update: bool) -> None:
        data, metadata = self._repr_mimebundle_()
        identity = {"display_id": self.model_id}
        publish_display_data(data, metadata, transient=identity, update=update)  # type: ignore[no-untyped-call]  # untyped in IPython

    def _begin(self, text: str) -> concurrent.futures.Future[str]:
        future = self._page.copy().run(self._loop.submit, self._answer(text))
        return self._track(uuid4().hex, future)

    def _track(self, key: str, future: concurrent.futures.Future[Any]) -> concurrent.futures.Future[Any]:
        self._running[key] = future
        future.add_done_callback(lambda _: self._running.pop(key, None))
        return future

    async def _answer(self, text: str) -> str:
        source = await self._get_source()
        model = self.model or choose_model(await source.models()).name
        past = [*self.messages, new_message("user", content=text)]
        request = AnswerRequest(model, read_turns(past), self.reasoning, self.system, self.temperature)
        answer = AnswerMessage(request)
        self.messages = [*past, answer.message()]
        try:
            async with aclosing(source.chat(request)) as pieces:
                async for piece in pieces:
                    if answer.add(piece):
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
        return answer.text

    async def _get_source(self) -> Source:
        """Return the source of this panel. The first call finds it."""
        if self._source is None:
            self._source = await find_source()
        return self._source

    def _remember_page(self, _: object = None) -> None:
        self._page = contextvars.copy_context()

    def _handle_message(self, _: object, message: dict[str, Any], buffers: object) -> None:
        """Handle a message of the page.

        "stop" ends the answer of `ask()`. A page that cannot reach a server also sends requests, and
        "abort" to end one of them.
        """
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
        """Answer one request of the page, with its result or an error."""
        try:
            source = await self._get_source()
            if kind == "chat":
                await self._serve_chat(source, key, msgspec.convert(content, AnswerRequest))
            elif kind == "models":
                self.send({"type": "models", "id": key, "models": msgspec.to_builtins(await source.models())})
            elif kind == "memory":
                self.send({"type": "memory", "id": key, "memory": msgspec.to_builtins(await source.memory())})
            else:
                load_or_unload = source.load if kind == "load" else source.unload
                await load_or_unload(str(content["name"]))
                self.send({"type": "done", "id": key})
        except (PicoError, msgspec.ValidationError) as error:
            self.send({"type": "failed", "id": key, "message": str(getattr(error, "message", error))})

    async def _serve_chat(self, source: Source, key: str, request: AnswerRequest) -> None:
        async with aclosing(source.chat(request)) as pieces:
            async for piece in pieces:
                self.send({"type": "pieces", "id": key, "pieces": [msgspec.to_builtins(piece)]})
        self.send({"type": "done", "id": key})
