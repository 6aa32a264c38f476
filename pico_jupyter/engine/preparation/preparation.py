"""Preparation: from a request to a Generation that is ready to run. Knows no scheduler and no backend.

Everything that may refuse a request for what it says happens here, before the request is accepted. Runs on the
preparation threads.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.media.processor import Processor, load_processor
from pico_jupyter.engine.preparation.prompt import RenderedPrompt, render_prompt
from pico_jupyter.engine.preparation.viewing import Viewing
from pico_jupyter.engine.scheduling.sequence import Generation, Marks, Sequence, Sink, resolve_sampling
from pico_jupyter.engine.text.output import OutputParser
from pico_jupyter.engine.text.tokenizer import Tokenizer, load_tokenizer
from pico_jupyter.errors import InvalidRequest, ModelLoadFailed, ModelNotFound
from pico_jupyter.types import EngineOptions, GenerationRequest, ModelInfo

log = logging.getLogger(__name__)

T = TypeVar("T")

# Tokenizers are large (tens of megabytes with a large vocabulary) and slow to load.
_MODELS_KEPT = 4
_DRAFT_TOKENS = 4
# How many tokens of two vocabularies are compared.
_SAMPLED_TOKENS = 512


class _Recent(Generic[T]):
    """What was loaded for the models used last. May be asked by several threads; each model is loaded by one."""

    def __init__(self, load: Callable[[Path], T]) -> None:
        self._load = load
        self._loaded: OrderedDict[tuple[str, str], T] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._loaded)

    def of(self, info: ModelInfo) -> T:
        key = (info.path, info.digest)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = self._load(Path(info.path))
            self._loaded.move_to_end(key)
            if len(self._loaded) > _MODELS_KEPT:
                self._loaded.popitem(last=False)
            return self._loaded[key]


class Preparation:
    """Turns requests into generations; keeps the tokenizers and processors of the models used last."""

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
        self._keep_alive = options.keep_alive
        self._draft_models = options.draft_models
        self._warned: set[str] = set()
        self._new_seed = new_seed
        self._new_call_id = new_call_id
        self._clock = clock
        self._rows = itertools.count(1)
        self._tokenizers: _Recent[Tokenizer] = _Recent(load_tokenizer)
        self._processors: _Recent[Processor] = _Recent(load_processor)

    def __repr__(self) -> str:
        return f"<Preparation [{len(self._tokenizers)} tokenizers]>"

    def generation(self, request: GenerationRequest, sink: Sink, submitted: float) -> Generation:
        """The request, ready to run. Raises ModelNotFound, InvalidRequest and its kinds, ModelLoadFailed."""
        info = self._catalog.find(request.model)
        tokenizer = self._tokenizers.of(info)
        _check_bias(request, tokenizer)
        prompt = render_prompt(request, info, tokenizer, self._viewing(info, tokenizer))
        if not prompt.tokens and prompt.max_tokens:
            raise InvalidRequest("the prompt is empty", param="prompt")
        draft = self._draft(request, info, tokenizer)
        return Generation(
            id=request.id,
            info=info,
            prompt=prompt.tokens,
            max_tokens=prompt.max_tokens,
            reasoning=prompt.reasoning,
            sequences=self._sequences(request, info, tokenizer, prompt),
            vocabulary=tokenizer,
            keep_alive=self._keep_alive if request.keep_alive is None else request.keep_alive,
            sink=sink,
            marks=Marks(submitted),
            return_context=request.return_context,
            media=prompt.media,
            boundaries=prompt.boundaries,
            draft=draft,
            draft_tokens=_DRAFT_TOKENS if request.draft_tokens is None else request.draft_tokens,
        )

    def loading(self, name: str, keep_alive: float | None, sink: Sink) -> Generation:
        """A generation that only loads its model. Its tokenizer is ready then, too."""
        info = self._catalog.find(name)
        self._viewing(info, self._tokenizers.of(info))
        return Generation(
            id=f"load {info.name}",
            info=info,
            prompt=[],
            max_tokens=0,
            reasoning=False,
            sequences=[],
            vocabulary=None,
            keep_alive=self._keep_alive if keep_alive is None else keep_alive,
            sink=sink,
            marks=Marks(self._clock()),
        )

    def _draft(self, request: GenerationRequest, info: ModelInfo, tokenizer: Tokenizer) -> ModelInfo | None:
        """The model that drafts: the request's own, which must be right, or the configured one if it is."""
        if request.draft_tokens == 0 or request.n != 1:
            return None
        if request.draft_model:
            return self._draft_model(request.draft_model, info, tokenizer)
        if configured := self._draft_models.get(info.name):
            try:
                return self._draft_model(configured, info, tokenizer)
            except (InvalidRequest, ModelNotFound, ModelLoadFailed) as error:
                if info.name not in self._warned:
                    log.warning("draft_models: %s goes on without drafts: %s", info.name, error)
                    self._warned.add(info.name)
        return None

    def _draft_model(self, name: str, info: ModelInfo, tokenizer: Tokenizer) -> ModelInfo:
        """Raises ModelNotFound, ModelLoadFailed, InvalidRequest."""
        try:
            draft = self._catalog.find(name)
        except ModelNotFound as error:
            raise ModelNotFound(error.message, param="draft_model", model=name) from error
        if draft.name == info.name:
            raise InvalidRequest(f"{info.name} cannot draft for itself", param="draft_model", model=name)
        if not _have_same_tokens(tokenizer, self._tokenizers.of(draft)):
            raise InvalidRequest(
                f"{draft.name} cannot draft for {info.name}: their tokens differ", param="draft_model", model=name
            )
        return draft

    def _sequences(
        self, request: GenerationRequest, info: ModelInfo, tokenizer: Tokenizer, prompt: RenderedPrompt
    ) -> list[Sequence]:
        asked = request.sampling.seed
        if asked is None:
            asked = info.parameters.seed if request.fallback_sampling.seed is None else request.fallback_sampling.seed
        seed = self._new_seed() if asked is None else asked
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
                ),
                parser=OutputParser(
                    tokenizer,
                    stop=(*request.stop, *info.stop),
                    reasoning_started=prompt.reasoning_started,
                    tools=prompt.tools,
                    index=index,
                    new_call_id=self._new_call_id,
                    continuation=prompt.continuation,
                ),
            )
            for index in range(request.n)
        ]

    def _viewing(self, info: ModelInfo, tokenizer: Tokenizer) -> Viewing | None:
        """What looks at the media of a request for a model that sees."""
        if "vision" not in info.capabilities:
            return None
        return Viewing(self._processors.of(info), tokenizer, self._options)


def _have_same_tokens(one: Tokenizer, other: Tokenizer) -> bool:
    if one.vocab_size != other.vocab_size:
        return False
    sample = range(0, one.vocab_size, max(1, one.vocab_size // _SAMPLED_TOKENS))
    return all(one.token_bytes(token) == other.token_bytes(token) for token in sample)


def _check_bias(request: GenerationRequest, tokenizer: Tokenizer) -> None:
    for token in request.sampling.logit_bias or {}:
        if not 0 <= token < tokenizer.vocab_size:
            raise InvalidRequest(
                f"logit_bias: token {token} is not one of the model's {tokenizer.vocab_size} tokens",
                param="logit_bias",
            )
