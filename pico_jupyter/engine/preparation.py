"""Preparation: from a request to a Generation that is ready to run. Knows no scheduler and no backend.

Everything that may refuse a request for what it says happens here, before the request is accepted. Runs on the
preparation thread.
"""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from pico_jupyter.engine.catalog import Catalog
from pico_jupyter.engine.output import OutputParser
from pico_jupyter.engine.prompt import RenderedPrompt, render_prompt
from pico_jupyter.engine.sequence import Generation, Marks, Sequence, Sink, resolve_sampling
from pico_jupyter.engine.tokenizer import Tokenizer, load_tokenizer
from pico_jupyter.errors import InvalidRequest, ModelLoadFailed, ModelNotFound
from pico_jupyter.types import GenerationRequest, ModelInfo

log = logging.getLogger(__name__)

# Tokenizers are large (tens of megabytes with a large vocabulary) and slow to load.
_TOKENIZERS_KEPT = 4
_DRAFT_TOKENS = 4
# How many tokens of two vocabularies are compared.
_SAMPLED_TOKENS = 512


class Preparation:
    """Turns requests into generations; keeps the tokenizers of the models used last."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        keep_alive: float,
        new_seed: Callable[[], int],
        new_call_id: Callable[[], str],
        clock: Callable[[], float],
        draft_models: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._catalog = catalog
        self._keep_alive = keep_alive
        self._draft_models = draft_models
        self._warned: set[str] = set()
        self._new_seed = new_seed
        self._new_call_id = new_call_id
        self._clock = clock
        self._rows = itertools.count(1)
        self._tokenizers: OrderedDict[tuple[str, str], Tokenizer] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Preparation [{len(self._tokenizers)} tokenizers]>"

    def generation(self, request: GenerationRequest, sink: Sink, submitted: float) -> Generation:
        """The request, ready to run. Raises ModelNotFound, InvalidRequest and its kinds, ModelLoadFailed."""
        info = self._catalog.find(request.model)
        tokenizer = self._tokenizer(info)
        _check_bias(request, tokenizer)
        prompt = render_prompt(request, info, tokenizer)
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
            boundaries=prompt.boundaries,
            draft=draft,
            draft_tokens=_DRAFT_TOKENS if request.draft_tokens is None else request.draft_tokens,
        )

    def loading(self, name: str, keep_alive: float | None, sink: Sink) -> Generation:
        """A generation that only loads its model. Its tokenizer is ready then, too."""
        info = self._catalog.find(name)
        self._tokenizer(info)
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
        if not _have_same_tokens(tokenizer, self._tokenizer(draft)):
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

    def _tokenizer(self, info: ModelInfo) -> Tokenizer:
        key = (info.path, info.digest)
        if key not in self._tokenizers:
            self._tokenizers[key] = load_tokenizer(Path(info.path))
        self._tokenizers.move_to_end(key)
        if len(self._tokenizers) > _TOKENIZERS_KEPT:
            self._tokenizers.popitem(last=False)
        return self._tokenizers[key]


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
