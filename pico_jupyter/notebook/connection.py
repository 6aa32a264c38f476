"""Pico: a notebook's connection to its models, and `connect`, which makes it. Knows no magics."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

import msgspec

from pico_jupyter.notebook import clients
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.models import Models, choose_model
from pico_jupyter.notebook.questions import History, QuestionOptions, ReasoningSwitch, read_question
from pico_jupyter.notebook.streams import INTERRUPTIBLE_SECONDS, AnswerStream, AsyncAnswerStream
from pico_jupyter.sources.address import ServerAddress, find_server, name_server
from pico_jupyter.sources.background import BackgroundLoop, shared_loop
from pico_jupyter.sources.calls import ChatCall, Source
from pico_jupyter.sources.found import find_source
from pico_jupyter.sources.own_server import own_server
from pico_jupyter.sources.remote import ServerSource

if TYPE_CHECKING:
    from ollama import AsyncClient, Client
    from openai import AsyncOpenAI, OpenAI

T = TypeVar("T")


class Pico:
    """The models of this machine, for code in a notebook. `last` is the last answer, whole or not."""

    def __init__(self, source: Source, loop: BackgroundLoop) -> None:
        self.last: Answer | None = None
        self._source = source
        self._loop = loop
        self._default_model = ""

    def __repr__(self) -> str:
        return f"<Pico: {self.origin}>"

    @property
    def origin(self) -> str:
        """Where answers come from, in words that are the same in every run."""
        if not isinstance(self._source, ServerSource):
            return "an engine in this kernel"
        address = self._source.address
        return f"the Jupyter server {f'at {address.host}' if address.is_named else 'of this kernel'}"

    @overload
    def chat(self, question: str, *, stream: Literal[False] = False, **options: Unpack[QuestionOptions]) -> Answer: ...

    @overload
    def chat(self, question: str, *, stream: Literal[True], **options: Unpack[QuestionOptions]) -> AnswerStream: ...

    def chat(
        self,
        question: str,
        *,
        model: str | None = None,
        system: str = "",
        reasoning: ReasoningSwitch = "default",
        images: Any = (),
        videos: Any = (),
        temperature: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
        history: History = None,
        stream: bool = False,
    ) -> Answer | AnswerStream:
        """Ask, and return the answer; with `stream`, an iterator over its pieces. Raises PicoError.

        `model` answers (None: `default_model`). `system` is what it is told before everything else. `reasoning`
        switches its thinking: "on" or True, "off" or False, "default" or None. `images` are pictures: paths, bytes,
        Pillow images, numpy arrays, matplotlib figures, URLs (data:, jupyter:, https:); `videos` are paths, bytes or
        URLs of clips. `temperature` is 0 to 2 (None: the model's own), `max_tokens` limits text and thinking together,
        `seed` makes an answer that was drawn the same again. `history` is an Answer, or a list of messages like
        {"role": "user", "content": "…"}, that this question continues.

        An interrupt stops the model; what it wrote until then is in `last`.
        """
        options = QuestionOptions(
            model=model,
            system=system,
            reasoning=reasoning,
            images=images,
            videos=videos,
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
            history=history,
        )
        pieces = AnswerStream(self._loop, self._source, read_question(question, options), self._complete)
        self.last = pieces.answer
        if stream:
            return pieces
        for _ in pieces:
            pass
        return pieces.answer

    @overload
    def achat(
        self, question: str, *, stream: Literal[False] = False, **options: Unpack[QuestionOptions]
    ) -> Coroutine[Any, Any, Answer]: ...

    @overload
    def achat(
        self, question: str, *, stream: Literal[True], **options: Unpack[QuestionOptions]
    ) -> AsyncAnswerStream: ...

    def achat(
        self, question: str, *, stream: bool = False, **options: Unpack[QuestionOptions]
    ) -> Coroutine[Any, Any, Answer] | AsyncAnswerStream:
        """As `chat`, for coroutines: `await pico.achat(…)`, or `async for piece in pico.achat(…, stream=True)`.

        The model begins when it is waited for. Cancelling stops it.
        """
        pieces = AsyncAnswerStream(self._loop, self._source, read_question(question, options), self._complete)
        self.last = pieces.answer
        return pieces if stream else _whole(pieces)

    @property
    def models(self) -> Models:
        """The models on this machine. Raises PicoError."""
        return Models(self._wait(self._source.models()))

    @property
    def default_model(self) -> str:
        """The model that answers where none is named: the first of `models`, until another one is set.

        A question with pictures then goes to the first model that can see. Raises PicoError.
        """
        return self._default_model or choose_model(self.models).name

    @default_model.setter
    def default_model(self, name: str) -> None:
        self._default_model = name

    def load(self, name: str) -> None:
        """Load a model now. Raises PicoError."""
        self._wait(self._source.load(name))

    def unload(self, name: str) -> None:
        """Unload a model. One that is not loaded is fine. Raises PicoError."""
        self._wait(self._source.unload(name))

    def openai(self) -> OpenAI:
        """A client of the `openai` package. Where an engine is in this kernel, a Jupyter server of its own is started.

        Raises ImportError without the package, PicoError if no server starts.
        """
        return clients.openai_client(self._address())

    def aopenai(self) -> AsyncOpenAI:
        """As `openai`, for coroutines."""
        return clients.async_openai_client(self._address())

    def ollama(self) -> Client:
        """A client of the `ollama` package, on the same terms as `openai`."""
        return clients.ollama_client(self._address())

    def aollama(self) -> AsyncClient:
        """As `ollama`, for coroutines."""
        return clients.async_ollama_client(self._address())

    def _address(self) -> ServerAddress:
        return self._source.address if isinstance(self._source, ServerSource) else own_server()

    async def _complete(self, call: ChatCall) -> ChatCall:
        """The call with the model that it leaves open."""
        if call.model:
            return call
        if self._default_model:
            return msgspec.structs.replace(call, model=self._default_model)
        chosen = choose_model(await self._source.models(), call.messages)
        return msgspec.structs.replace(call, model=chosen.name)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return wait(self._loop.submit(work))


def connect(*, url: str = "", token: str = "") -> Pico:
    """The connection of this process to its models.

    With `url`, to the server there. Otherwise to the server that PICO_JUPYTER_URL and PICO_JUPYTER_TOKEN name, or to
    the Jupyter server that started this kernel; where there is none, or pico_jupyter is not installed in it, an engine
    in this kernel answers. Connecting again gives the same connection.

    Raises InvalidRequest for a URL that is none, EngineUnavailable if nothing answers at one that was named.
    """
    return _connection(name_server(url, token) if url else find_server())


@functools.cache
def _connection(address: ServerAddress | None) -> Pico:
    return Pico(wait(shared_loop().submit(find_source(address))), shared_loop())


def wait(future: concurrent.futures.Future[T]) -> T:
    """The result. An interrupt cancels the work."""
    try:
        while not future.done():
            concurrent.futures.wait([future], INTERRUPTIBLE_SECONDS)
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise


async def _whole(pieces: AsyncAnswerStream) -> Answer:
    async for _ in pieces:
        pass
    return pieces.answer
