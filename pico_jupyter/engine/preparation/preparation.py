"""Preparation: turns a request into a Generation that the scheduler can run.

Invalid requests are refused here, before they are queued. The engine calls this module on its preparation threads.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.media.media_processor import MediaProcessor, load_processor
from pico_jupyter.engine.preparation.constraints import new_constraint
from pico_jupyter.engine.preparation.media_preparation import MediaPreparation
from pico_jupyter.engine.preparation.prompt import RenderedPrompt, render_prompt, tokenize_prompt
from pico_jupyter.engine.scheduling.sequence import Generation, Sequence, Sink, Timestamps, resolve_sampling
from pico_jupyter.engine.structure.compiler import GrammarCompiler
from pico_jupyter.engine.text.embedding_tokenizer import EmbeddingTokenizer, load_embedding_tokenizer
from pico_jupyter.engine.text.output_parser import OutputParser
from pico_jupyter.engine.text.tokenizer import Tokenizer, load_tokenizer
from pico_jupyter.errors import ContextLengthExceeded, InvalidRequest, ModelLoadFailed, ModelNotFound
from pico_jupyter.questions import DetokenizePrompt, Embed, PromptTokens, TokenizePrompt
from pico_jupyter.types import CompletionPrompt, EngineOptions, GenerationRequest, ModelInfo

log = logging.getLogger(__name__)

T = TypeVar("T")

# The number of models whose tokenizers are cached. A tokenizer uses tens of megabytes and is slow to load.
_CACHED_MODELS = 4
# The number of draft tokens in each step if the request does not set it.
_DRAFT_TOKENS = 4
# Two vocabularies of equal size are assumed to be the same if a sample of about this many tokens is the same.
_COMPARED_TOKENS = 512


class _LoadCache(Generic[T]):
    """Caches one object for each of the most recently used models. Thread-safe."""

    def __init__(self, load: Callable[[Path], T]) -> None:
        self._load = load
        self._loaded: OrderedDict[tuple[str, str], T] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._loaded)

    def get(self, info: ModelInfo) -> T:
        """The object of a model. The first call loads it; other threads wait for it. Raises the errors of `load`."""
        key = (info.path, info.digest)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = self._load(Path(info.path))
            self._loaded.move_to_end(key)
            if len(self._loaded) > _CACHED_MODELS:
                self._loaded.popitem(last=False)
            return self._loaded[key]


class Preparation:
    """Turns requests into generations, and caches the tokenizers and processors of the most recently used models.

    `new_seed` returns the seed for a request without one, `new_call_id` the id of a tool call. `clock` is in seconds.
    """

    def __init__(
        self,
        catalog: Catalog,
        options: EngineOptions,
        *,
        new_seed: Callable[[], int],
        new_call_id: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._options = options
        self._warned: set[str] = set()
        self._new_seed = new_seed
        self._new_call_id = new_call_id
        self._clock = clock
        self._rows = itertools.count(1)
        self._tokenizers: _LoadCache[Tokenizer] = _LoadCache(load_tokenizer)
        self._embedding_tokenizers: _LoadCache[EmbeddingTokenizer] = _LoadCache(load_embedding_tokenizer)
        self._processors: _LoadCache[MediaProcessor] = _LoadCache(load_processor)
        self._compilers: WeakKeyDictionary[Tokenizer, GrammarCompiler] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<Preparation [{len(self._tokenizers)} tokenizers]>"

    def prepare(self, request: GenerationRequest, sink: Sink, submitted: float) -> Generation:
        """Build the generation of a request. `sink` receives the deltas. `submitted` is the time of arrival.

        Raises ModelNotFound, ModelLoadFailed, InvalidRequest and subclasses of these.
        """
        info = self._catalog.find(request.model)
        if "completion" not in info.capabilities:
            reason = f"{info.name} is an embedding model and does not generate text"
            raise InvalidRequest(reason, param="model", model=request.model)
        tokenizer = self._tokenizers.get(info)
        _check_bias(request, tokenizer)
        media_preparation = self._media_preparation(info, tokenizer)
        generic_tools = self._options.generic_tools
        prompt = render_prompt(request, info, tokenizer, media_preparation, generic_tools=generic_tools)
        scores_prompt = isinstance(request.prompt, CompletionPrompt) and request.prompt.logprobs
        if not prompt.tokens and (prompt.max_tokens or scores_prompt):
            raise InvalidRequest("the prompt is empty", param="prompt")
        draft = self._draft_for(request, info, tokenizer)
        generation = Generation(
            id=request.id,
            info=info,
            prompt=prompt.tokens,
            max_tokens=prompt.max_tokens,
            reasoning=prompt.reasoning,
            sequences=self._sequences(request, info, tokenizer, prompt),
            vocabulary=tokenizer,
            keep_alive=self._options.keep_alive if request.keep_alive is None else request.keep_alive,
            sink=sink,
            times=Timestamps(submitted),
            return_context=request.return_context,
            media=prompt.media,
            boundaries=prompt.boundaries,
            draft=draft,
            end_tokens=prompt.end_tokens,
            scores_prompt=scores_prompt,
            low_priority=request.low_priority,
            draft_tokens=_DRAFT_TOKENS if request.draft_tokens is None else request.draft_tokens,
        )
        generation.replay(request.sampled)
        return generation

    def tokenize(self, question: TokenizePrompt) -> PromptTokens:
        """Render and tokenize a prompt. Raises the errors of prepare(), and ContextLengthExceeded for huge prompts."""
        request = question.request
        info = self._catalog.find(request.model)
        tokenizer = self._tokenizers.get(info)
        limit = min(info.context_length, request.max_context or info.context_length)
        media = self._media_preparation(info, tokenizer)
        generic_tools = self._options.generic_tools
        prompt = tokenize_prompt(request, info, tokenizer, limit, media, generic_tools=generic_tools)
        if not prompt.is_complete:
            raise ContextLengthExceeded(f"the prompt has more than {len(prompt.tokens)} tokens", param="messages")
        texts = tuple(tokenizer.decode_all([token]) for token in prompt.tokens) if question.token_texts else ()
        return PromptTokens(prompt.text, tuple(prompt.tokens), info.context_length, texts)

    def detokenize(self, question: DetokenizePrompt) -> str:
        """The text of tokens. Raises ModelNotFound, ModelLoadFailed and InvalidRequest."""
        tokenizer = self._tokenizers.get(self._catalog.find(question.model))
        if any(not 0 <= token < tokenizer.vocab_size for token in question.tokens):
            text = f"tokens contains ids that are not among the model's {tokenizer.vocab_size} tokens"
            raise InvalidRequest(text, param="tokens")
        return tokenizer.decode_all(question.tokens)

    def prepare_load(self, name: str, keep_alive: float | None, sink: Sink) -> Generation:
        """Build a generation that only loads a model. Raises the errors of prepare()."""
        info = self._catalog.find(name)
        # Caches the tokenizer and the processor.
        if "embedding" in info.capabilities:
            self._embedding_tokenizers.get(info)
        else:
            self._media_preparation(info, self._tokenizers.get(info))
        return self._without_prompt(f"load {info.name}", info, keep_alive, sink, self._clock())

    def prepare_embedding(self, question: Embed, sink: Sink, submitted: float) -> Generation:
        """Build the generation that embeds the inputs of a question. Raises the errors of prepare()."""
        info = self._catalog.find(question.model)
        if "embedding" not in info.capabilities:
            reason = f"{info.name} does not support embeddings. {self._embedding_models}"
            raise InvalidRequest(reason, param="model", model=question.model)
        if question.dimensions is not None and not 0 < question.dimensions <= info.embedding_length:
            reason = f"dimensions must be between 1 and {info.embedding_length} for {info.name}"
            raise InvalidRequest(reason, param="dimensions", model=question.model)
        tokenizer = self._embedding_tokenizers.get(info)
        params = question.params or tuple(f"input[{index}]" for index in range(len(question.inputs)))
        generation = self._without_prompt(f"embed with {info.name}", info, question.keep_alive, sink, submitted)
        generation.texts = [
            tokenizer.encode(text, info.context_length, param, truncate=question.truncate)
            for text, param in zip(question.inputs, params, strict=True)
        ]
        generation.vectors = [None] * len(generation.texts)
        return generation

    @property
    def _embedding_models(self) -> str:
        names = [info.name for info in self._catalog.models() if "embedding" in info.capabilities]
        return f"Embedding models: {', '.join(names)}" if names else "There is no embedding model on this machine"

    def _without_prompt(
        self, id_: str, info: ModelInfo, keep_alive: float | None, sink: Sink, submitted: float
    ) -> Generation:
        return Generation(
            id=id_,
            info=info,
            prompt=[],
            max_tokens=0,
            reasoning=False,
            sequences=[],
            vocabulary=None,
            keep_alive=self._options.keep_alive if keep_alive is None else keep_alive,
            sink=sink,
            times=Timestamps(submitted),
        )

    def _draft_for(self, request: GenerationRequest, info: ModelInfo, tokenizer: Tokenizer) -> ModelInfo | None:
        """The draft model of the request, or else of the options. Logs a warning if the configured one is unusable."""
        if request.draft_tokens == 0 or request.n != 1:
            return None
        if request.draft_model:
            return self._find_draft_model(request.draft_model, info, tokenizer)
        if configured := self._options.draft_models.get(info.name):
            try:
                return self._find_draft_model(configured, info, tokenizer)
            except (InvalidRequest, ModelNotFound, ModelLoadFailed) as error:
                if info.name not in self._warned:
                    log.warning("draft_models: %s is used without a draft model: %s", info.name, error)
                    self._warned.add(info.name)
        return None

    def _find_draft_model(self, name: str, info: ModelInfo, tokenizer: Tokenizer) -> ModelInfo:
        """Find a draft model for `info`.

        Raises ModelNotFound, ModelLoadFailed, or InvalidRequest if the model cannot be the draft model of `info`.
        """
        try:
            draft = self._catalog.find(name)
        except ModelNotFound as error:
            raise ModelNotFound(error.message, param="draft_model", model=name) from error
        if draft.name == info.name:
            raise InvalidRequest(f"{info.name} cannot be its own draft model", param="draft_model", model=name)
        if not _have_same_tokens(tokenizer, self._tokenizers.get(draft)):
            reason = f"{draft.name} cannot be the draft model of {info.name}: their tokens differ"
            raise InvalidRequest(reason, param="draft_model", model=name)
        return draft

    def _sequences(
        self, request: GenerationRequest, info: ModelInfo, tokenizer: Tokenizer, prompt: RenderedPrompt
    ) -> list[Sequence]:
        seeds = (request.sampling.seed, request.fallback_sampling.seed, info.parameters.seed)
        given = next((seed for seed in seeds if seed is not None), None)
        seed = self._new_seed() if given is None else given
        answers = tokenizer.plain if prompt.is_plain else tokenizer
        return [
            Sequence(
                row=next(self._rows),
                index=index,
                sampling=resolve_sampling(
                    request.sampling,
                    info.parameters,
                    request.fallback_sampling,
                    seed=seed + index,
                    top_logprobs=request.top_logprobs,
                    constraint=new_constraint(request, prompt, answers, self._compiler(tokenizer)),
                ),
                parser=OutputParser(
                    answers,
                    stop=(*request.stop, *info.stop),
                    reasoning_started=prompt.reasoning_started,
                    tools=prompt.tools,
                    calls=prompt.calls,
                    index=index,
                    new_call_id=self._new_call_id,
                    continuation=prompt.continuation,
                    calls_are_certain=request.tool_choice.required,
                ),
            )
            for index in range(request.n)
        ]

    def _compiler(self, tokenizer: Tokenizer) -> GrammarCompiler:
        return self._compilers.setdefault(tokenizer, GrammarCompiler(tokenizer))

    def _media_preparation(self, info: ModelInfo, tokenizer: Tokenizer) -> MediaPreparation | None:
        """The media preparation for one request; None for a model without vision."""
        if "vision" not in info.capabilities:
            return None
        return MediaPreparation(self._processors.get(info), tokenizer, self._options)


def _have_same_tokens(one: Tokenizer, other: Tokenizer) -> bool:
    if one.vocab_size != other.vocab_size:
        return False
    sample = range(0, one.vocab_size, max(1, one.vocab_size // _COMPARED_TOKENS))
    return all(one.token_bytes(token) == other.token_bytes(token) for token in sample)


def _check_bias(request: GenerationRequest, tokenizer: Tokenizer) -> None:
    for token in request.sampling.logit_bias or {}:
        if not 0 <= token < tokenizer.vocab_size:
            reason = f"logit_bias: token {token} is not one of the model's {tokenizer.vocab_size} tokens"
            raise InvalidRequest(reason, param="logit_bias")
