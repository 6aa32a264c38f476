"""PrefixCache: keeps the KV caches of rows that ended, for later prompts that begin with the same tokens.

It holds four kinds of entries:
- The whole KV cache of a row. The next prompt of the same conversation removes the entry and uses it without a copy.
- Blocks of 256 tokens, in a tree in which only full blocks have children. Any number of prompts copy from them.
- Checkpoints, for models with layers that cannot be trimmed (rotating, state space): the state of those layers after a
  certain number of tokens.
- Features of images and videos, by a digest of their pixels.

Invariants:
- All models share one limit in bytes. The least recently used entry is evicted first.
- An entry never changes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from pico_jupyter.sizes import about

BLOCK = 256
# A shorter common beginning is prefilled again. Even unrelated prompts of one chat template share this many tokens.
MIN_SHARED_TOKENS = 32


@dataclass(frozen=True, slots=True, eq=False)
class CachedValue:
    """A value of a backend and its size. The prefix cache does not read the value."""

    value: Any
    nbytes: int


# Copies a range of tokens from a KV cache. The arguments are start and end; CopyTokensOf has the KV cache before them.
CopyTokens: TypeAlias = Callable[[int, int], CachedValue]
CopyTokensOf: TypeAlias = Callable[[Any, int, int], CachedValue]


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """The number of leading tokens that two sequences have in common. Both are lists, or both tuples."""
    longest = min(len(a), len(b))
    start = 0
    while start < longest and a[start : start + BLOCK] == b[start : start + BLOCK]:
        start += BLOCK
    end = min(start + BLOCK, longest)
    return next((index for index in range(start, end) if a[index] != b[index]), end)


@dataclass(slots=True, eq=False)
class _Entry:
    """A checkpoint, or the features of an image or a video."""

    cached: CachedValue
    last_used: int


@dataclass(slots=True, eq=False)
class _Block:
    """A node of the tree. `tokens` follow those of the parent. `checkpoints` are keyed by their offset in the block."""

    tokens: tuple[int, ...]
    cached: CachedValue
    parent: _Block | None
    last_used: int
    children: list[_Block] = field(default_factory=list)
    checkpoints: dict[int, _Entry] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Whole:
    """The cache of a row that ended.

    A prompt with the same first `continuation_start` tokens continues the conversation of that row.
    """

    tokens: list[int]
    cached: CachedValue
    continuation_start: int
    last_used: int


@dataclass(frozen=True, slots=True, eq=False)
class FoundPrefix:
    """The cached beginning of a prompt: `length` tokens, in a whole cache or in blocks, with a checkpoint if needed.

    A whole cache belongs to the caller, blocks must not be changed. The whole cache and the last block may hold more
    tokens than `length`.
    """

    length: int
    whole: Any = None
    blocks: tuple[Any, ...] = ()
    checkpoint: Any = None


class PrefixCache:
    """The entries of all models. `limit` is in bytes; `block` and `min_shared`, the least common length, in tokens."""

    def __init__(self, limit: int, *, block: int = BLOCK, min_shared: int = MIN_SHARED_TOKENS) -> None:
        self._limit = limit
        self._block = block
        self._min_shared = min_shared
        self._models: dict[str, ModelPrefixes] = {}
        self._clock = itertools.count(1)

    def __repr__(self) -> str:
        return f"<PrefixCache [{about(self.nbytes)} of {about(self._limit)} | {len(self._models)} models]>"

    @property
    def nbytes(self) -> int:
        """Bytes of all entries."""
        return sum(prefixes.nbytes for prefixes in self._models.values())

    def for_model(self, model: str) -> ModelPrefixes:
        """The entries of one model, by its name."""
        if model not in self._models:
            self._models[model] = ModelPrefixes(self._tick, self._reserve, self._block, self._min_shared)
        return self._models[model]

    def evict(self, nbytes: int) -> int:
        """Evict the least recently used entries until at least `nbytes` are freed, or all. Returns the bytes freed."""
        before = self.nbytes
        # A block can be evicted only after its children, so the entries are listed repeatedly.
        while before - self.nbytes < nbytes and (entries := self._evictable()):
            for _, evict in entries:
                if before - self.nbytes >= nbytes:
                    break
                evict()
        return before - self.nbytes

    def _tick(self) -> int:
        return next(self._clock)

    def _evictable(self) -> list[tuple[int, Callable[[], None]]]:
        """The time of last use and an evicting function of each entry that can be evicted now, the oldest first."""
        entries = [entry for prefixes in self._models.values() for entry in prefixes.evictable()]
        return sorted(entries, key=lambda entry: entry[0])

    def _reserve(self, nbytes: int) -> bool:
        """Evict entries until `nbytes` more are within the limit. Returns False if `nbytes` exceeds the limit."""
        if nbytes > self._limit:
            return False
        self.evict(self.nbytes + nbytes - self._limit)
        return True


class ModelPrefixes:
    """The entries of one model. `tick` numbers each use. `reserve` frees a number of bytes, or returns False."""

    def __init__(self, tick: Callable[[], int], reserve: Callable[[int], bool], block: int, min_shared: int) -> None:
        self.nbytes = 0
        self._block = block
        self._min_shared = min_shared
        self._tick = tick
        self._reserve = reserve
        self._wholes: list[_Whole] = []
        self._features: dict[bytes, _Entry] = {}
        self._root = _Block((), CachedValue(None, 0), None, 0)

    def __repr__(self) -> str:
        blocks = sum(1 for _ in _descendants(self._root))
        return f"<ModelPrefixes [{len(self._wholes)} whole | {blocks} blocks]>"

    def match(self, tokens: Sequence[int], *, is_trimmable: bool) -> int:
        """The number of leading tokens of a prompt that check_out() would find."""
        in_whole = self._best_whole(tokens, is_trimmable=is_trimmable)[1]
        in_blocks = self._longest_in_blocks(tokens, is_trimmable=is_trimmable)[0]
        return max(in_whole, in_blocks)

    def overlap(self, tokens: Sequence[int]) -> int:
        """The largest number of leading tokens of a prompt in any entry, even in one that check_out() could not use."""
        return max([self._walk(tokens)[0], *(common_length(tokens, whole.tokens) for whole in self._wholes)])

    def check_out(self, tokens: Sequence[int], copy: CopyTokensOf, *, is_trimmable: bool) -> FoundPrefix | None:
        """Find the longest cached beginning of a prompt, without its last token.

        If the prompt continues the conversation of a whole cache, that entry is removed. `copy` copies tokens from a
        whole cache. `is_trimmable`: all layers of the model can be trimmed to any length.
        """
        whole, length = self._best_whole(tokens, is_trimmable=is_trimmable)
        in_blocks, path, checkpoint = self._longest_in_blocks(tokens, is_trimmable=is_trimmable)
        if whole and length >= max(in_blocks, whole.continuation_start):
            self._remove_whole(whole)
            return FoundPrefix(length, whole=whole.cached.value)
        if whole and length > in_blocks:
            # This is another conversation with the same beginning. Later ones will probably begin in the same way.
            whole.last_used = self._tick()
            self.keep_blocks(tokens[:length], lambda start, end: copy(whole.cached.value, start, end))
            in_blocks, path, checkpoint = self._longest_in_blocks(tokens, is_trimmable=is_trimmable)
        if not in_blocks:
            return None
        self._touch(path)
        if checkpoint:
            checkpoint.last_used = path[-1].last_used
        blocks = tuple(block.cached.value for block in path)
        return FoundPrefix(in_blocks, blocks=blocks, checkpoint=checkpoint.cached.value if checkpoint else None)

    def keep_whole(
        self, tokens: list[int], cached: CachedValue, copy: CopyTokensOf, *, continuation_start: int, is_trimmable: bool
    ) -> None:
        """Keep the cache of a row that ended. It is split into blocks if blocks already hold a quarter of it."""
        if is_trimmable:
            shared = self._walk(tokens)[0] // self._block * self._block
            if shared and 4 * shared >= len(tokens):
                self.keep_blocks(tokens, lambda start, end: copy(cached.value, start, end))
                return
        for other in list(self._wholes):
            if common_length(other.tokens, tokens) >= other.continuation_start:
                self._remove_whole(other)  # It is from an earlier turn of the same conversation.
        if tokens and self._reserve(cached.nbytes):
            self.nbytes += cached.nbytes
            self._wholes.append(_Whole(tokens, cached, min(continuation_start, len(tokens)), self._tick()))

    def keep_blocks(self, tokens: Sequence[int], copy: CopyTokens, checkpoint: CachedValue | None = None) -> None:
        """Copy the tokens that no block holds yet into new blocks. Keep `checkpoint` after the last token."""
        block, start = self._root, 0
        path: list[_Block] = []
        while start < len(tokens):
            wanted = tuple(tokens[start : start + self._block])
            child = self._child_for(block, wanted, copy, start)
            if child is None:
                return
            path.append(child)
            self._touch(path)
            block, start = child, start + len(wanted)
        if checkpoint and path and self._reserve(checkpoint.nbytes):
            offset = len(wanted)
            self._drop_checkpoint(block, offset)
            block.checkpoints[offset] = _Entry(checkpoint, self._tick())
            self.nbytes += checkpoint.nbytes

    def features(self, key: bytes) -> Any:
        """The features that were kept under a key, or None if they were evicted."""
        if entry := self._features.get(key):
            entry.last_used = self._tick()
            return entry.cached.value
        return None

    def keep_features(self, key: bytes, cached: CachedValue) -> None:
        """Keep features under a key until they are evicted."""
        self._remove_features(key)
        if self._reserve(cached.nbytes):
            self._features[key] = _Entry(cached, self._tick())
            self.nbytes += cached.nbytes

    def clear(self) -> None:
        """Remove all entries."""
        self._wholes.clear()
        self._features.clear()
        self._root.children.clear()
        self.nbytes = 0

    def evictable(self) -> Iterator[tuple[int, Callable[[], None]]]:
        """For each entry that can be evicted now, yield the time of its last use and a function that evicts it."""
        for whole in self._wholes:
            yield whole.last_used, partial(self._remove_whole, whole)
        for key, entry in self._features.items():
            yield entry.last_used, partial(self._remove_features, key)
        for block in _descendants(self._root):
            if not block.children:
                yield block.last_used, partial(self._remove_block, block)
                continue
            for offset, checkpoint in block.checkpoints.items():
                yield checkpoint.last_used, partial(self._drop_checkpoint, block, offset)

    def _child_for(self, parent: _Block, wanted: tuple[int, ...], copy: CopyTokens, start: int) -> _Block | None:
        """The child block that begins with `wanted`, created if it does not exist. None if there is no memory."""
        shorter = None
        for child in parent.children:
            if child.tokens[: len(wanted)] == wanted:
                return child
            if wanted[: len(child.tokens)] == child.tokens:
                shorter = child
        cached = copy(start, start + len(wanted))
        self._touch([parent])
        has_space = self._reserve(cached.nbytes)
        is_parent_evicted = parent is not self._root and parent not in _siblings(parent)
        if not has_space or is_parent_evicted:
            return None
        child = _Block(wanted, cached, parent, self._tick())
        if shorter and shorter in parent.children:
            child.checkpoints, shorter.checkpoints = shorter.checkpoints, {}
            self._remove_block(shorter)
        parent.children.append(child)
        self.nbytes += cached.nbytes
        return child

    def _walk(self, tokens: Sequence[int]) -> tuple[int, list[_Block]]:
        """Find the beginning of a prompt in the tree. Returns its length and its blocks; the last may match in part."""
        block, length = self._root, 0
        path: list[_Block] = []
        while length < len(tokens):
            wanted = tuple(tokens[length : length + self._block])
            common, best = max(
                ((common_length(child.tokens, wanted), child) for child in block.children),
                key=lambda pair: pair[0],
                default=(0, None),
            )
            if best is None or not common:
                break
            path.append(best)
            length += common
            if common < self._block:
                break
            block = best
        return length, path

    def _longest_in_blocks(
        self, tokens: Sequence[int], *, is_trimmable: bool
    ) -> tuple[int, list[_Block], _Entry | None]:
        """The longest beginning of a prompt in blocks: its length, its blocks, and the checkpoint if one is needed."""
        limit = len(tokens) - 1
        length, path = self._walk(tokens)
        if is_trimmable:
            length = min(length, limit)
            if length < self._min_shared:
                return 0, [], None
            return length, path[: math.ceil(length / self._block)], None
        for index in reversed(range(len(path))):
            for offset in sorted(path[index].checkpoints, reverse=True):
                if index * self._block + offset <= min(length, limit):
                    return index * self._block + offset, path[: index + 1], path[index].checkpoints[offset]
        return 0, [], None

    def _best_whole(self, tokens: Sequence[int], *, is_trimmable: bool) -> tuple[_Whole | None, int]:
        """The whole cache with the longest usable beginning of a prompt, and the length of that beginning."""
        limit = len(tokens) - 1
        best: tuple[_Whole | None, int] = (None, 0)
        for whole in self._wholes:
            length = min(common_length(tokens, whole.tokens), limit)
            is_usable = (
                length >= min(whole.continuation_start, self._min_shared)
                if is_trimmable
                else length == len(whole.tokens)
            )
            if is_usable and length > best[1]:
                best = (whole, length)
        return best

    def _touch(self, path: Sequence[_Block]) -> None:
        """Mark blocks as used now."""
        now = self._tick()
        for block in path:
            block.last_used = now

    def _remove_features(self, key: bytes) -> None:
        if entry := self._features.pop(key, None):
            self.nbytes -= entry.cached.nbytes

    def _remove_whole(self, whole: _Whole) -> None:
        if whole in self._wholes:
            self._wholes.remove(whole)
            self.nbytes -= whole.cached.nbytes

    def _remove_block(self, block: _Block) -> None:
        for offset in list(block.checkpoints):
            self._drop_checkpoint(block, offset)
        if block in _siblings(block):
            _siblings(block).remove(block)
            self.nbytes -= block.cached.nbytes

    def _drop_checkpoint(self, block: _Block, offset: int) -> None:
        if checkpoint := block.checkpoints.pop(offset, None):
            self.nbytes -= checkpoint.cached.nbytes


def _siblings(block: _Block) -> list[_Block]:
    return block.parent.children if block.parent else []


def _descendants(block: _Block) -> Iterator[_Block]:
    pending = list(block.children)
    while pending:
        yield (current := pending.pop())
        pending.extend(current.children)
