"""Pico: a notebook's connection to its models, and `connect()`, which returns it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
from collections.abc import AsyncGenerator, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

import msgspec
import tqdm.auto

from pico_jupyter.download_reports import Download
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.notebook import clients
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.answer_schema import read_schema
from pico_jupyter.notebook.chat_arguments import ChatArguments, History, ReasoningSwitch, read_arguments
from pico_jupyter.notebook.models import Models
from pico_jupyter.notebook.streams import INTERRUPTIBLE_SECONDS, AnswerStream, AsyncAnswerStream
from pico_jupyter.sources.background import BackgroundLoop, shared_loop
from pico_jupyter.sources.calls import AnswerRequest, Source, choose_embedding_model, choose_model
from pico_jupyter.sources.discovery import find_source
from pico_jupyter.sources.model_getter import LocalGetter, ModelGetter, ServerGetter
from pico_jupyter.sources.own_server import own_server
from pico_jupyter.sources.pull_bar import PullBar
from pico_jupyter.sources.server_address import ServerAddress, find_server, name_server
from pico_jupyter.sources.server_source import ServerSource
from pico_jupyter.types import EngineOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from ollama import AsyncClient, Client
    from openai import AsyncOpenAI, OpenAI

T = TypeVar("T")


class Pico:
    """The models of this machine, for code in a notebook. `connect()` returns it.

    `last` is the latest answer (None before the first). The answer may be incomplete: still growing, or stopped.
    """

    def __init__(self, source: Source, loop: BackgroundLoop) -> None:
        self.last: Answer | None = None
        self._source = source
        self._loop = loop
        self._default_model = ""

    def __repr__(self) -> str:
        return f"<Pico: {self.origin}>"

    @property
    def origin(self) -> str:
        """A description of the source of answers. It is the same in every run of a notebook."""
        if not isinstance(self._source, ServerSource):
            return "an engine in this kernel"
        address = self._source.address
        return f"the Jupyter server {f'at {address.host}' if address.is_named else 'of this kernel'}"

    @overload
    def chat(self, question: str, *, stream: Literal[False] = False, **options: Unpack[ChatArguments]) -> Answer: ...

    @overload
    def chat(self, question: str, *, stream: Literal[True], **options: Unpack[ChatArguments]) -> AnswerStream: ...

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
        schema: Any = None,
        stream: bool = False,
    ) -> Answer | AnswerStream:
        """Ask a model and return its answer, or, with `stream`, an iterator over the pieces of the answer.

        - `model`: the name of a model (default: the model of `history`, else `default_model`).
        - `system`: the system message.
        - `reasoning`: "on" or True, "off" or False, "default" or None (the model's default).
        - `images`: one image or several: paths, bytes, Pillow images, numpy arrays, matplotlib figures, or URLs (data:,
          jupyter:, http:, https:).
        - `videos`: one video or several: paths, bytes or URLs.
        - `temperature`: 0 to 2; 0 always picks the most likely token (default: the model's).
        - `max_tokens`: the maximum number of tokens, including reasoning (default: the rest of the context).
        - `seed`: the same seed gives the same answer (default: random).
        - `history`: the conversation that the question continues: an Answer, or messages like
          {"role": "user", "content": "…"}.
        - `schema`: the structure of the answer: a pydantic model, a dataclass, a TypedDict, another type that JSON can
          represent, or a dict with a JSON schema. The text of the answer is JSON that matches it, and `parsed` of the
          answer is the value.

        Raises InvalidRequest for a wrong argument, and another PicoError if the request fails. An interrupt aborts the
        request; `last` then has the text so far.
        """
        options = ChatArguments(
            model=model,
            system=system,
            reasoning=reasoning,
            images=images,
            videos=videos,
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
            history=history,
            schema=schema,
        )
        answer = self.last = _begin(question, options)
        pieces = AnswerStream(self._loop, self._source, answer, self._fill_model)
        if stream:
            return pieces
        for _ in pieces:
            pass
        return pieces.answer

    @overload
    def achat(
        self, question: str, *, stream: Literal[False] = False, **options: Unpack[ChatArguments]
    ) -> Coroutine[Any, Any, Answer]: ...

    @overload
    def achat(self, question: str, *, stream: Literal[True], **options: Unpack[ChatArguments]) -> AsyncAnswerStream: ...

    def achat(
        self, question: str, *, stream: bool = False, **options: Unpack[ChatArguments]
    ) -> Coroutine[Any, Any, Answer] | AsyncAnswerStream:
        """Like `chat`, for coroutines: `await pico.achat(…)`, or `async for piece in pico.achat(…, stream=True)`.

        The request is sent when the result is first awaited. Cancelling aborts the request.
        """
        answer = self.last = _begin(question, options)
        pieces = AsyncAnswerStream(self._loop, self._source, answer, self._fill_model)
        return pieces if stream else _whole(pieces)

    def embed(
        self, texts: str | Iterable[str], *, model: str | None = None, dimensions: int | None = None
    ) -> NDArray[np.float32]:
        """Return the vectors of texts as an array (number of texts, dimensions). Each vector has the length 1.

        - `texts`: one text or several.
        - `model`: the name of an embedding model (default: the first one of `models`).
        - `dimensions`: keep only the first numbers of each vector, for models that are made for it (default: all).

        Raises InvalidRequest for a wrong argument or for a text that exceeds the model's context, and another PicoError
        if the request fails. An interrupt aborts the request.
        """
        return self._wait(self._embed(texts, model, dimensions))

    async def aembed(
        self, texts: str | Iterable[str], *, model: str | None = None, dimensions: int | None = None
    ) -> NDArray[np.float32]:
        """Like `embed`, for coroutines. Cancelling aborts the request."""
        return await asyncio.wrap_future(self._loop.submit(self._embed(texts, model, dimensions)))

    async def _embed(
        self, texts: str | Iterable[str], model: str | None, dimensions: int | None
    ) -> NDArray[np.float32]:
        import numpy as np  # noqa: PLC0415  # the import takes a tenth of a second

        listed = [texts] if isinstance(texts, str) else list(texts)
        if not listed or not all(isinstance(text, str) for text in listed):
            raise InvalidRequest("texts must be a string, or one or more strings", param="texts")
        name = model or choose_embedding_model(await self._source.models()).name
        vectors = await self._source.embed(name, listed, dimensions)
        return np.frombuffer(b"".join(vectors), np.float32).reshape(len(listed), -1)

    @property
    def models(self) -> Models:
        """The models on this machine, which notebooks display as a table. Raises PicoError."""
        return Models(self._wait(self._source.models()))

    @property
    def default_model(self) -> str:
        """The model of requests without a model: the first of `models`, unless another model is assigned.

        If no model is assigned, a question with images or videos uses the first model that accepts them.
        Raises PicoError.
        """
        return self._default_model or choose_model(self.models).name

    @default_model.setter
    def default_model(self, name: str) -> None:
        self._default_model = name

    def load(self, name: str) -> None:
        """Load a model and wait until it is in memory. Raises PicoError."""
        self._wait(self._source.load(name))

    def unload(self, name: str) -> None:
        """Unload a model once its requests have finished. A model that is not loaded is no error. Raises PicoError."""
        self._wait(self._source.unload(name))

    def pull(self, name: str) -> None:
        """Download a model from the Hugging Face hub, or resume its download. Shows a progress bar of tqdm.

        - `name`: OWNER/NAME on the hub. Without OWNER, of mlx-community.

        An interrupt pauses the download. Raises PicoError.
        """
        getter = self._getter()
        records = getter.pull(name)
        try:
            with PullBar(tqdm.auto.tqdm, name) as bar:
                while (record := self._wait(_next(records))) is not None:
                    bar.show(record)
        except KeyboardInterrupt:
            self._wait(getter.pause(name))
            raise

    def remove(self, name: str) -> int:
        """Delete a model that was downloaded. Returns the bytes that this freed. Raises PicoError."""
        return self._wait(self._getter().remove(name))

    def openai(self) -> OpenAI:
        """Return a client of the `openai` package for the server of this connection.

        If the connection has no server, one is started for this kernel. Raises ImportError if the package is not
        installed, and EngineUnavailable if the server does not start.
        """
        return clients.openai_client(self._address())

    def aopenai(self) -> AsyncOpenAI:
        """Return an asynchronous client of the `openai` package. See `openai`."""
        return clients.async_openai_client(self._address())

    def ollama(self) -> Client:
        """Return a client of the `ollama` package. See `openai`."""
        return clients.ollama_client(self._address())

    def aollama(self) -> AsyncClient:
        """Return an asynchronous client of the `ollama` package. See `openai`."""
        return clients.async_ollama_client(self._address())

    def _getter(self) -> ModelGetter:
        if isinstance(self._source, ServerSource):
            return ServerGetter(self._source.address)
        return LocalGetter(Catalog(EngineOptions()))

    def _address(self) -> ServerAddress:
        return self._source.address if isinstance(self._source, ServerSource) else own_server()

    async def _fill_model(self, request: AnswerRequest) -> AnswerRequest:
        """Add a model to a request without a model."""
        if request.model:
            return request
        name = self._default_model or choose_model(await self._source.models(), request.messages).name
        return msgspec.structs.replace(request, model=name)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return wait(self._loop.submit(work))


def connect(*, url: str = "", token: str = "") -> Pico:
    """Return this process's connection to its models. Later calls for the same server return the same object.

    With `url` (like "http://localhost:8888/") and `token`, the connection uses the Jupyter server at that address.
    Otherwise it uses the server of PICO_JUPYTER_URL and PICO_JUPYTER_TOKEN, else the server that started this kernel.
    Without a server, or if that server lacks pico_jupyter, the connection uses an engine in this kernel.

    Raises InvalidRequest if the URL is not an http or https URL, Unauthenticated or Forbidden if the token is wrong,
    and EngineUnavailable if there is no pico_jupyter server at the address.
    """
    return _connection(name_server(url, token) if url else find_server())


@functools.cache
def _connection(address: ServerAddress | None) -> Pico:
    return Pico(wait(shared_loop().submit(find_source(address))), shared_loop())


def wait(future: concurrent.futures.Future[T]) -> T:
    """Wait for `future` and return its result. An interrupt cancels the future."""
    try:
        while not future.done():
            concurrent.futures.wait([future], INTERRUPTIBLE_SECONDS)
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise


def _begin(question: str, options: ChatArguments) -> Answer:
    schema = read_schema(options.get("schema"))
    return Answer(read_arguments(question, options, schema), schema=schema)


async def _next(records: AsyncGenerator[Download, None]) -> Download | None:
    """The next record; None at the end."""
    return await anext(records, None)


async def _whole(pieces: AsyncAnswerStream) -> Answer:
    async for _ in pieces:
        pass
    return pieces.answer
