"""VisionModel: a model of mlx-vlm with the interface of a model of mlx-lm.

Invariants:
- Positions are passed with every call. Positions that the language model stores from an earlier prompt are cleared.
- The vision tower does not compute an image again while the features of the image are in the prefix cache.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_map

from pico_jupyter.engine.backend import Media
from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.memory.prefix_cache import CachedValue, ModelPrefixes
from pico_jupyter.errors import InvalidRequest

# The attributes in which the model families store the vision tower. The tower computes features from pixels.
_TOWERS = ("vision_tower", "vision_model", "visual", "vision_encoder", "vision_embed_tokens")
# Arguments of shape (1, tokens) that mark the tokens of images.
_TOKEN_TYPES = ("mm_token_type_ids", "token_type_ids")
# Larger features are not kept. Some families return all hidden layers of their tower, but use only one.
_MAX_FEATURES_NBYTES = 64 << 20


@dataclass(frozen=True, slots=True, eq=False)
class PromptEmbeddings:
    """The inputs of the language model for a prompt: embeddings (1, tokens, width), and the arguments of its family."""

    embeddings: mx.array
    arguments: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = [value for _, value in tree_flatten(dict(self.arguments)) if isinstance(value, mx.array)]
        return self.embeddings.nbytes + sum(array.nbytes for array in arrays)

    def chunk(self, start: int, end: int) -> dict[str, Any]:
        """The arguments for the tokens from `start` to `end`. The model itself slices those that are returned whole."""
        types = {name: self.arguments[name][:, start:end] for name in _TOKEN_TYPES if name in self.arguments}
        return {"inputs_embeds": self.embeddings[:, start:end], "n_to_process": end - start, **self.arguments, **types}


class VisionModel:
    """Calls a model of mlx-vlm with tokens and a cache, and returns logits. `prefixes` stores the tower's features."""

    def __init__(self, model: Any, prefixes: ModelPrefixes) -> None:
        self._model = model
        self._language = model.language_model
        self._parameters = model.parameters()
        self.tower_cache: VisionTowerCache | None = None
        name = next((name for name in _TOWERS if getattr(model, name, None) is not None), None)
        if name:
            self.tower_cache = VisionTowerCache(getattr(model, name), prefixes)
            setattr(model, name, self.tower_cache)

    def __repr__(self) -> str:
        return f"<VisionModel {type(self._model).__module__.split('.')[-1]} {self.tower_cache!r}>"

    def __call__(self, tokens: mx.array, cache: kv.Cache | None = None, **inputs: Any) -> mx.array:
        if self.uses_rope_deltas and "position_ids" not in inputs:
            self._clear_positions()
            inputs.setdefault("rope_deltas", mx.zeros((tokens.shape[0], 1), mx.int32))
        logits: mx.array = self._language(tokens, cache=cache, **inputs).logits
        self._clear_positions()  # frees their memory
        return logits

    def parameters(self) -> Any:
        """The tree of all weights, including the vision tower's."""
        return self._parameters

    @property
    def uses_rope_deltas(self) -> bool:
        """Whether an image can have fewer positions than tokens."""
        return hasattr(self._language, "get_rope_index")

    def make_cache(self) -> kv.Cache:
        """A new scalar cache of the language model."""
        from mlx_vlm.models.cache import make_prompt_cache

        cache: kv.Cache = make_prompt_cache(self._language)
        return cache

    def needs_one_chunk(self, media: Media) -> bool:
        """Whether all media of a prompt must be in its first chunk, with an empty cache."""
        for part in (self._model, self._language):
            policy = getattr(part, "chunked_prefill_policy", None)
            if callable(policy):
                types = {name: mx.array(media.inputs[name]) for name in _TOKEN_TYPES if name in media.inputs}
                return not policy(prefill_kwargs=types)
        return any(getattr(part, "no_chunked_prefill", False) for part in (self._model, self._language))

    def embed(self, media: Media) -> PromptEmbeddings:
        """Compute the embeddings of a prompt. Raises InvalidRequest for images and videos together if not supported."""
        self._clear_positions()
        calls_before = self.tower_cache.calls if self.tower_cache else 0
        has_both = {"pixel_values", "pixel_values_videos"} <= media.inputs.keys()
        tokens = mx.array([list(media.tokens)])
        inputs = {name: _as_arrays(value) for name, value in media.inputs.items()}
        pixels = inputs.pop("pixel_values", None)
        try:
            result = self._model.get_input_embeddings(tokens, pixels, mask=mx.ones_like(tokens), **inputs)
        finally:
            # A family that calls its tower only once supports one kind of media. It fails or ignores the other kind.
            if has_both and self.tower_cache and self.tower_cache.calls == calls_before + 1:
                raise InvalidRequest("this model accepts images or videos in one prompt, not both", param="messages")
        arguments = {name: value for name, value in inputs.items() if "pixel" not in name}
        arguments |= {name: value for name, value in result.to_dict().items() if value is not None}
        embeddings = arguments.pop("inputs_embeds")
        mx.eval(embeddings)
        if embeddings.shape[1] != len(media.tokens):
            raise ValueError(f"{len(media.tokens)} tokens became {embeddings.shape[1]} embeddings")
        return PromptEmbeddings(embeddings, arguments)

    def rope_delta(self, media: Media | None) -> int | None:
        """Position minus index of the tokens after a prompt's media. None if the two are equal in all prompts."""
        if not self.uses_rope_deltas:
            return None
        if media is None:
            return 0
        accepted = inspect.signature(self._language.get_rope_index).parameters
        grids = {name: _as_arrays(value) for name, value in media.inputs.items() if name in accepted}
        _, deltas = self._language.get_rope_index(mx.array([list(media.tokens)]), **grids)
        return int(deltas.item())

    def _clear_positions(self) -> None:
        """Clear the positions of the last prompt, which the language models of mlx-vlm store."""
        if self.uses_rope_deltas:
            self._language._position_ids = None
            self._language._rope_deltas = None


class VisionTowerCache:
    """Replaces the vision tower of a model and keeps the tower's features in the prefix cache.

    `calls` counts the calls by the model. `passes` counts the images or batches that the tower really computed.
    """

    def __init__(self, tower: Any, prefixes: ModelPrefixes) -> None:
        self._tower = tower
        self._prefixes = prefixes
        self.calls = 0
        self.passes = 0

    def __repr__(self) -> str:
        return f"<VisionTowerCache [{self.calls} calls | {self.passes} passes]>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tower, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        features = [self._features(one, kwargs) for one in _split_by_image(args)]
        if len(features) == 1:
            return features[0]
        return tree_map(lambda *parts: mx.concatenate(parts) if isinstance(parts[0], mx.array) else parts[0], *features)

    def _features(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        key = _digest(args, kwargs)
        features = self._prefixes.features(key)
        if features is None:
            self.passes += 1
            features = self._tower(*args, **kwargs)
            arrays = [value for _, value in tree_flatten(features) if isinstance(value, mx.array)]
            mx.eval(arrays)
            if (size := sum(array.nbytes for array in arrays)) <= _MAX_FEATURES_NBYTES:
                self._prefixes.keep_features(key, CachedValue(features, size))
        return features


def _split_by_image(args: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Split arguments of the form (patches, grids, ...) into those for each image. Other forms are not split."""
    match args:
        case (mx.array(ndim=2) as patches, mx.array(ndim=2, shape=(count, 3)) as grids, *rest) if count > 1:
            ends = [0, *np.cumsum(np.prod(np.array(grids), axis=1)).tolist()]
            if ends[-1] == patches.shape[0]:
                return [
                    (patches[start:end], grids[index : index + 1], *rest)
                    for index, (start, end) in enumerate(pairwise(ends))
                ]
    return [args]


def _digest(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name, value in tree_flatten([list(args), dict(sorted(kwargs.items()))]):
        if isinstance(value, mx.array):
            digest.update(f"{name} {value.dtype} {value.shape}".encode())
            # numpy has no bfloat16.
            numbers = np.array(value.view(mx.uint16) if value.dtype == mx.bfloat16 else value)
            digest.update(np.ascontiguousarray(numbers).data)
        else:
            digest.update(f"{name} {value!r}".encode())
    return digest.digest()


def _as_arrays(value: Any) -> Any:
    return tree_map(lambda leaf: mx.array(leaf) if isinstance(leaf, np.ndarray) else leaf, value)
