"""PrefixCache: KV caches that outlive their rows, for prompts that begin like an earlier one. Knows no mlx.

Two forms. A whole cache is kept as a row left it, and the conversation's next prompt takes it over without a copy.
Blocks of 256 tokens are copies that any number of prompts may begin with; they form a tree, in which only full blocks
have children. Models with layers whose caches cannot be cut at any token (rotating, state space) also keep
checkpoints: those layers' state after so many tokens. What a model saw in a picture is kept beside them. One byte
budget holds for all models; what was used least recently goes first. Nothing that is kept is ever changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pico_jupyter.sizes import about

BLOCK = 256
# A shorter common beginning is prefilled again: templates alone have that much in common.
WORTH_SHARING = 32


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Something of a backend's that takes memory; the cache never looks inside."""

    value: Any
    nbytes: int


# Copies the tokens from start to end out of a whole cache.
Cut = Callable[[int, int], Kept]


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens two sequences of one type have in common."""
    longest = min(len(a), len(b))
    start = 0
    while start < longest and a[start : start + BLOCK] == b[start : start + BLOCK]:
        start += BLOCK
    end = min(start + BLOCK, longest)
    return next((index for index in range(start, end) if a[index] != b[index]), end)


@dataclass(slots=True, eq=False)
class _Entry:
    """A checkpoint, or what was seen."""

    kept: Kept
    last_used: int


@dataclass(slots=True, eq=False)
class _Block:
    """Some tokens after those of its parents. `checkpoints` are keyed by the tokens of this block before them."""

    tokens: tuple[int, ...]
    kept: Kept
    parent: _Block | None
    last_used: int
    children: list[_Block] = field(default_factory=list)
    checkpoints: dict[int, _Entry] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Whole:
    """A row's cache as it was left. From `turn` tokens on, a prompt is taken for the next of the same conversation."""

    tokens: list[int]
    kept: Kept
    turn: int
    last_used: int


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a prompt can begin with: `length` tokens, in a whole cache or in blocks, with a checkpoint if it needs one.

    A whole cache may hold more tokens than `length`; it belongs to the taker. Blocks may not be changed; the last one
    may hold more tokens than are needed.
    """

    length: int
    whole: Any = None
    blocks: tuple[Any, ...] = ()
    checkpoint: Any = None


class PrefixCache:
    """What all models keep. `limit` is in bytes, `block` in tokens; less than `least` tokens are not shared."""

    def __init__(self, limit: int, *, block: int = BLOCK, least: int = WORTH_SHARING) -> None:
        self._limit = limit
        self._block = block
        self._least = least
        self._models: dict[str, ModelPrefixes] = {}
        self._clock = itertools.count(1)

    def __repr__(self) -> str:
        return f"<PrefixCache [{about(self.nbytes)} of {about(self._limit)} | {len(self._models)} models]>"

    @property
    def nbytes(self) -> int:
        return sum(prefixes.nbytes for prefixes in self._models.values())

    def of(self, model: str) -> ModelPrefixes:
        """The part of one model."""
        if model not in self._models:
            self._models[model] = ModelPrefixes(self._tick, self._fit, self._block, self._least)
        return self._models[model]

    def shed(self, nbytes: int) -> int:
        """Forget what was used least recently until that many bytes are free. Returns the bytes that became free."""
        before = self.nbytes
        while before - self.nbytes < nbytes and (entries := self._evictable()):
            for _, evict in entries:
                if before - self.nbytes >= nbytes:
                    break
                evict()
        return before - self.nbytes

    def _tick(self) -> int:
        return next(self._clock)

    def _evictable(self) -> list[tuple[int, Callable[[], None]]]:
        """What can go, the least recently used first."""
        entries = [entry for prefixes in self._models.values() for entry in prefixes.evictable()]
        return sorted(entries, key=lambda entry: entry[0])

    def _fit(self, nbytes: int) -> bool:
        """Make room for so many bytes more. False: they are over the limit alone."""
        if nbytes > self._limit:
            return False
        self.shed(self.nbytes + nbytes - self._limit)
        return True


class ModelPrefixes:
    """What one model keeps. `fit` makes room for a number of bytes, or tells that there is none."""

    def __init__(self, tick: Callable[[], int], fit: Callable[[int], bool], block: int, least: int) -> None:
        self.nbytes = 0
        self._block = block
        self._least = least
        self._tick = tick
        self._fit = fit
        self._wholes: list[_Whole] = []
        self._seen: dict[bytes, _Entry] = {}
        self._root = _Block((), Kept(None, 0), None, 0)

    def __repr__(self) -> str:
        blocks = sum(1 for _ in _descendants(self._root))
        return f"<ModelPrefixes [{len(self._wholes)} whole | {blocks} blocks]>"

    def match(self, tokens: Sequence[int], *, is_cuttable: bool) -> int:
        """How many leading tokens of a prompt take() would find."""
        whole, in_whole = self._best_whole(tokens, is_cuttable=is_cuttable)
        in_blocks = self._usable(tokens, is_cuttable=is_cuttable)[0]
        return max(in_whole if whole else 0, in_blocks)

    def overlap(self, tokens: Sequence[int]) -> int:
        """How many leading tokens of a prompt are known here, usable or not."""
        return max([self._walk(tokens)[0], *(common_length(tokens, whole.tokens) for whole in self._wholes)])

    def take(self, tokens: Sequence[int], cut: Callable[[Any, int, int], Kept], *, is_cuttable: bool) -> Found | None:
        """The longest beginning of a prompt that is kept. At least one token is left for the prompt to compute.

        `is_cuttable` tells whether all the model's caches can be cut at any token; `cut` copies from a whole cache.
        """
        whole, length = self._best_whole(tokens, is_cuttable=is_cuttable)
        in_blocks, path, checkpoint = self._usable(tokens, is_cuttable=is_cuttable)
        if whole and length >= max(in_blocks, whole.turn):
            self._remove_whole(whole)
            return Found(length, whole=whole.kept.value)
        if whole and length > in_blocks:
            # Another conversation begins like this one, so its beginning is worth a copy for all that follow.
            whole.last_used = self._tick()
            self.keep_blocks(tokens[:length], lambda start, end: cut(whole.kept.value, start, end))
            in_blocks, path, checkpoint = self._usable(tokens, is_cuttable=is_cuttable)
        if not in_blocks:
            return None
        self._touch(path)
        if checkpoint:
            checkpoint.last_used = path[-1].last_used
        blocks = tuple(block.kept.value for block in path)
        return Found(in_blocks, blocks=blocks, checkpoint=checkpoint.kept.value if checkpoint else None)

    def keep_whole(
        self,
        tokens: list[int],
        kept: Kept,
        cut: Callable[[Any, int, int], Kept],
        *,
        turn: int,
        is_cuttable: bool,
    ) -> None:
        """Keep the cache of a row that has left, as it is, or cut into blocks where others begin like it."""
        if is_cuttable:
            shared = self._walk(tokens)[0] // self._block * self._block
            if shared and 4 * shared >= len(tokens):
                self.keep_blocks(tokens, lambda start, end: cut(kept.value, start, end))
                return
        for other in list(self._wholes):
            if common_length(other.tokens, tokens) >= other.turn:
                self._remove_whole(other)  # the same conversation, further back
        if tokens and self._fit(kept.nbytes):
            self.nbytes += kept.nbytes
            self._wholes.append(_Whole(tokens, kept, min(turn, len(tokens)), self._tick()))

    def keep_blocks(self, tokens: Sequence[int], cut: Cut, checkpoint: Kept | None = None) -> None:
        """Keep copies of what is not kept yet of these tokens, and the checkpoint that belongs after the last one."""
        block, start = self._root, 0
        path: list[_Block] = []
        while start < len(tokens):
            wanted = tuple(tokens[start : start + self._block])
            child = self._child_for(block, wanted, cut, start)
            if child is None:
                return
            path.append(child)
            self._touch(path)
            block, start = child, start + len(wanted)
        if checkpoint and path and self._fit(checkpoint.nbytes):
            offset = len(wanted)
            self._drop_checkpoint(block, offset)
            block.checkpoints[offset] = _Entry(checkpoint, self._tick())
            self.nbytes += checkpoint.nbytes

    def recall(self, key: bytes) -> Any:
        """What remember() was given for a key; None if it is not kept."""
        if entry := self._seen.get(key):
            entry.last_used = self._tick()
            return entry.kept.value
        return None

    def remember(self, key: bytes, kept: Kept) -> None:
        """Keep something under a key, as long as there is room."""
        self._forget(key)
        if self._fit(kept.nbytes):
            self._seen[key] = _Entry(kept, self._tick())
            self.nbytes += kept.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._wholes.clear()
        self._seen.clear()
        self._root.children.clear()
        self.nbytes = 0

    def evictable(self) -> Iterator[tuple[int, Callable[[], None]]]:
        """What can go now: when it was used last, and how it goes."""
        for whole in self._wholes:
            yield whole.last_used, partial(self._remove_whole, whole)
        for key, entry in self._seen.items():
            yield entry.last_used, partial(self._forget, key)
        for block in _descendants(self._root):
            if not block.children:
                yield block.last_used, partial(self._remove_block, block)
                continue
            for offset, checkpoint in block.checkpoints.items():
                yield checkpoint.last_used, partial(self._drop_checkpoint, block, offset)

    def _child_for(self, parent: _Block, wanted: tuple[int, ...], cut: Cut, start: int) -> _Block | None:
        """The child that begins with these tokens; made, or made longer, where there is none. None: no room."""
        shorter = None
        for child in parent.children:
            if child.tokens[: len(wanted)] == wanted:
                return child
            if wanted[: len(child.tokens)] == child.tokens:
                shorter = child
        kept = cut(start, start + len(wanted))
        self._touch([parent])
        if not self._fit(kept.nbytes) or (parent is not self._root and parent not in _siblings(parent)):
            return None
        made = _Block(wanted, kept, parent, self._tick())
        if shorter and shorter in parent.children:
            made.checkpoints, shorter.checkpoints = shorter.checkpoints, {}
            self._remove_block(shorter)
        parent.children.append(made)
        self.nbytes += kept.nbytes
        return made

    def _walk(self, tokens: Sequence[int]) -> tuple[int, list[_Block]]:
        """The longest path of blocks along a prompt, the last one perhaps in part, and the tokens in common."""
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

    def _usable(self, tokens: Sequence[int], *, is_cuttable: bool) -> tuple[int, list[_Block], _Entry | None]:
        """The longest beginning that blocks give: its length, its blocks, and its checkpoint."""
        limit = len(tokens) - 1
        length, path = self._walk(tokens)
        if is_cuttable:
            length = min(length, limit)
            return (length, path[: -(-length // self._block)], None) if length >= self._least else (0, [], None)
        for index in reversed(range(len(path))):
            for offset in sorted(path[index].checkpoints, reverse=True):
                if index * self._block + offset <= min(length, limit):
                    return index * self._block + offset, path[: index + 1], path[index].checkpoints[offset]
        return 0, [], None

    def _best_whole(self, tokens: Sequence[int], *, is_cuttable: bool) -> tuple[_Whole | None, int]:
        limit = len(tokens) - 1
        best: tuple[_Whole | None, int] = (None, 0)
        for whole in self._wholes:
            length = min(common_length(tokens, whole.tokens), limit)
            is_usable = length >= min(whole.turn, self._least) if is_cuttable else length == len(whole.tokens)
            if is_usable and length > best[1]:
                best = (whole, length)
        return best

    def _touch(self, path: Sequence[_Block]) -> None:
        now = self._tick()
        for block in path:
            block.last_used = now

    def _forget(self, key: bytes) -> None:
        if entry := self._seen.pop(key, None):
            self.nbytes -= entry.kept.nbytes

    def _remove_whole(self, whole: _Whole) -> None:
        if whole in self._wholes:
            self._wholes.remove(whole)
            self.nbytes -= whole.kept.nbytes

    def _remove_block(self, block: _Block) -> None:
        for offset in list(block.checkpoints):
            self._drop_checkpoint(block, offset)
        if block in _siblings(block):
            _siblings(block).remove(block)
            self.nbytes -= block.kept.nbytes

    def _drop_checkpoint(self, block: _Block, offset: int) -> None:
        if checkpoint := block.checkpoints.pop(offset, None):
            self.nbytes -= checkpoint.kept.nbytes


def _siblings(block: _Block) -> list[_Block]:
    return block.parent.children if block.parent else []


def _descendants(block: _Block) -> Iterator[_Block]:
    left = list(block.children)
    while left:
        yield (current := left.pop())
        left.extend(current.children)
