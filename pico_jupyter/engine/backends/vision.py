"""VisionModel: a model of mlx-vlm in the place of one of mlx-lm, and what it sees. Knows no row and no prefix cache.

Invariants: what the language model remembers of an earlier prompt is never used: positions are told at every call.
The vision tower is asked once for each picture as long as the answer is kept.
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
from pico_jupyter.engine.memory.prefix_cache import Kept, ModelPrefixes
from pico_jupyter.errors import InvalidRequest

# What families call the part that turns pixels into features.
_TOWERS = ("vision_tower", "vision_model", "visual", "vision_encoder", "vision_embed_tokens")
# Which tokens are of a picture, (1, tokens).
_TOKEN_TYPES = ("mm_token_type_ids", "token_type_ids")
# Some families hand out all hidden layers of their tower, of which they use one: that much is not worth keeping.
_MOST_KEPT = 64 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """A prompt as the language model takes it in: embeddings (1, tokens, width), and what else the family needs."""

    embeddings: mx.array
    others: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        arrays = [value for _, value in tree_flatten(dict(self.others)) if isinstance(value, mx.array)]
        return self.embeddings.nbytes + sum(array.nbytes for array in arrays)

    def chunk(self, start: int, end: int) -> dict[str, Any]:
        """What to give with the tokens from start to end.

        The models themselves cut what belongs to whole prompts, but for the types of tokens.
        """
        types = {name: self.others[name][:, start:end] for name in _TOKEN_TYPES if name in self.others}
        return {"inputs_embeds": self.embeddings[:, start:end], "n_to_process": end - start, **self.others, **types}


class VisionModel:
    """A model of mlx-vlm, called as mlx-lm's are: tokens and a cache in, logits out."""

    def __init__(self, model: Any, kept: ModelPrefixes) -> None:
        self._model = model
        self._language = model.language_model
        self._parameters = model.parameters()
        self.memo: VisionMemo | None = None
        name = next((name for name in _TOWERS if getattr(model, name, None) is not None), None)
        if name:
            self.memo = VisionMemo(getattr(model, name), kept)
            setattr(model, name, self.memo)

    def __repr__(self) -> str:
        return f"<VisionModel {type(self._model).__module__.split('.')[-1]} {self.memo!r}>"

    def __call__(self, tokens: mx.array, cache: kv.Cache | None = None, **inputs: Any) -> mx.array:
        if self.uses_rope_deltas and "position_ids" not in inputs:
            self._forget_positions()
            inputs.setdefault("rope_deltas", mx.zeros((tokens.shape[0], 1), mx.int32))
        logits: mx.array = self._language(tokens, cache=cache, **inputs).logits
        self._forget_positions()  # they take memory, too
        return logits

    def parameters(self) -> Any:
        """The tree of the weights, the vision tower's included."""
        return self._parameters

    @property
    def uses_rope_deltas(self) -> bool:
        """Whether a picture takes more or fewer positions than tokens."""
        return hasattr(self._language, "get_rope_index")

    def make_cache(self) -> kv.Cache:
        from mlx_vlm.models.cache import make_prompt_cache

        cache: kv.Cache = make_prompt_cache(self._language)
        return cache

    def must_look_at_once(self, media: Media) -> bool:
        """Whether all media of a prompt must be in its first chunk, and nothing in the cache before that."""
        for part in (self._model, self._language):
            policy = getattr(part, "chunked_prefill_policy", None)
            if callable(policy):
                types = {name: mx.array(media.inputs[name]) for name in _TOKEN_TYPES if name in media.inputs}
                return not policy(prefill_kwargs=types)
        return any(getattr(part, "no_chunked_prefill", False) for part in (self._model, self._language))

    def look(self, media: Media) -> Sight:
        """What the language model takes in for a prompt; asks the vision tower for what it does not know."""
        self._forget_positions()
        calls = self.memo.calls if self.memo else 0
        sees_both = {"pixel_values", "pixel_values_videos"} <= media.inputs.keys()
        tokens = mx.array([list(media.tokens)])
        inputs = {name: _as_arrays(value) for name, value in media.inputs.items()}
        pixels = inputs.pop("pixel_values", None)
        try:
            features = self._model.get_input_embeddings(tokens, pixels, mask=mx.ones_like(tokens), **inputs)
        finally:
            # Families that ask their tower once look at one kind: some then fail, and some just do not see the other.
            if sees_both and self.memo and self.memo.calls == calls + 1:
                raise InvalidRequest(
                    "this model looks at pictures or at clips, not at both in one prompt", param="messages"
                )
        others = {name: value for name, value in features.to_dict().items() if value is not None}
        embeddings = others.pop("inputs_embeds")
        mx.eval(embeddings)
        if embeddings.shape[1] != len(media.tokens):
            raise ValueError(f"{len(media.tokens)} tokens became {embeddings.shape[1]} embeddings")
        return Sight(embeddings, {name: value for name, value in inputs.items() if "pixel" not in name} | others)

    def rope_delta(self, media: Media | None) -> int | None:
        """How far positions are ahead of the count of tokens behind a prompt's pictures; None: they are the count."""
        if not self.uses_rope_deltas:
            return None
        if media is None:
            return 0
        known = inspect.signature(self._language.get_rope_index).parameters
        grids = {name: _as_arrays(value) for name, value in media.inputs.items() if name in known}
        _, deltas = self._language.get_rope_index(mx.array([list(media.tokens)]), **grids)
        return int(deltas.item())

    def _forget_positions(self) -> None:
        """Language models keep the positions of the last prompt, whoever's it was."""
        if self.uses_rope_deltas:
            self._language._position_ids = None
            self._language._rope_deltas = None


class VisionMemo:
    """Stands in a model where its vision tower was, and remembers what that made of the pictures it was shown.

    `calls` counts how often it was asked, `passes` how often the tower itself was.
    """

    def __init__(self, tower: Any, kept: ModelPrefixes) -> None:
        self._tower = tower
        self._kept = kept
        self.calls = 0
        self.passes = 0

    def __repr__(self) -> str:
        return f"<VisionMemo [{self.calls} calls | {self.passes} passes]>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tower, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        seen = [self._see(one, kwargs) for one in _one_by_one(args)]
        if len(seen) == 1:
            return seen[0]
        return tree_map(lambda *parts: mx.concatenate(parts) if isinstance(parts[0], mx.array) else parts[0], *seen)

    def _see(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        key = _digest(args, kwargs)
        seen = self._kept.recall(key)
        if seen is None:
            self.passes += 1
            seen = self._tower(*args, **kwargs)
            arrays = [value for _, value in tree_flatten(seen) if isinstance(value, mx.array)]
            mx.eval(arrays)
            if (size := sum(array.nbytes for array in arrays)) <= _MOST_KEPT:
                self._kept.remember(key, Kept(seen, size))
        return seen


def _one_by_one(args: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """A call for several pictures as calls for one each, where the family's call shows where each begins.

    That is so where patches (patches, values) come with grids (pictures, 3) of how many there are.
    """
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
