"""Writes encoded samples to a file, and reads them as batches of samples with similar lengths.

python -m training.dataset TOKENIZER.json OUT.npz --samples 250000 --seed 1
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.conversation import Sample, render_prompt, render_target

LONGEST = 1536
CHUNK = 20_000
MANY_TOOLS = 4

Drawer = Callable[[Random], Sample]


@dataclass(slots=True)
class Dataset:
    """All tokens in one array. Sample i is tokens[starts[i]:starts[i + 1]]. `learned` marks the tokens in the loss.

    `heads` has the number of tokens of the system message of each sample with tools, and 0 for the other samples.
    """

    tokens: NDArray[np.uint16]
    learned: NDArray[np.bool_]
    starts: NDArray[np.int64]
    heads: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def save(self, path: Path) -> None:
        np.savez(path, tokens=self.tokens, learned=self.learned, starts=self.starts, heads=self.heads)

    @classmethod
    def load(cls, path: Path) -> "Dataset":
        with np.load(path) as file:
            return cls(file["tokens"], file["learned"], file["starts"], file["heads"])

    def groups(self) -> NDArray[np.int64]:
        """A number for each system message with tools, so that samples with the same one can share a batch."""
        heads = [
            crc32(self.tokens[start : start + head].tobytes())
            for start, head in zip(self.starts[:-1], self.heads, strict=True)
        ]
        return np.where(self.heads > 0, np.array(heads, np.int64), 0)

    def shared(self, indices: NDArray[np.int64]) -> int:
        """The number of tokens at the start of all samples of a batch that are equal and not learned."""
        return int(self.heads[indices[0]])

    def batch(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Two arrays (samples, length): the token ids, padded on the right with 0, and a mask.

        The mask is true at positions whose next token is in the loss.
        """
        longest = int(self.lengths()[indices].max())
        ids = np.zeros((len(indices), longest), np.int64)
        learned = np.zeros((len(indices), longest), np.bool_)
        for row, index in enumerate(indices):
            place = slice(self.starts[index], self.starts[index + 1])
            length = place.stop - place.start
            ids[row, :length] = self.tokens[place]
            learned[row, : length - 1] = self.learned[place][1:]
        return ids, learned


def encode(tokenizer: Tokenizer, draw: Drawer, samples: int, seed: int, *, learn_past: bool = False) -> Dataset:
    """Generate and encode samples, and drop those with more than LONGEST tokens. `draw` makes one random sample.

    With `learn_past`, the answers of past turns are in the loss too.
    """
    rng = Random(seed)
    rows: list[NDArray[np.uint16]] = []
    masks: list[NDArray[np.bool_]] = []
    heads: list[int] = []
    opening = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False).ids
    end = tokenizer.token_to_id("<|im_end|>")
    for start in range(0, samples, CHUNK):
        drawn = [draw(rng) for _ in range(min(CHUNK, samples - start))]
        questions = tokenizer.encode_batch_fast([render_prompt(s) for s in drawn], add_special_tokens=False)
        answers = tokenizer.encode_batch_fast([render_target(s) for s in drawn], add_special_tokens=False)
        for sample, question, answer in zip(drawn, questions, answers, strict=True):
            given = past_answers(question.ids, opening, end) if learn_past else [False] * len(question.ids)
            if len(given) + len(answer.ids) <= LONGEST:
                rows.append(np.array(question.ids + answer.ids, np.uint16))
                masks.append(np.array(given + [True] * len(answer.ids), np.bool_))
                heads.append(question.ids.index(end) + 1 if len(sample.tools) >= MANY_TOOLS else 0)
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return Dataset(np.concatenate(rows), np.concatenate(masks), starts.astype(np.int64), np.array(heads, np.int64))


def past_answers(ids: list[int], opening: list[int], end: int) -> list[bool]:
    """Marks the tokens of a prompt that are answers of past turns.

    The first token of each answer is not marked. The model should begin its reasoning there, but past turns have no
    reasoning.
    """
    learned = [False] * len(ids)
    position = 0
    while position + len(opening) < len(ids):
        if ids[position : position + len(opening)] != opening:
            position += 1
            continue
        position += len(opening) + 1
        while position < len(ids) and end in ids[position:]:
            learned[position] = True
            position += 1
            if ids[position - 1] == end:
                break
    return learned


def batches(dataset: Dataset, tokens: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yields batches without end, as arrays of sample indices. An epoch contains each sample once.

    A batch has at most `tokens` tokens, including padding. Shared system messages do not count.
    """
    rng = np.random.default_rng(seed)
    lengths, groups_of, heads = dataset.lengths(), dataset.groups(), dataset.heads
    while True:
        order = rng.permutation(len(dataset))
        for start in range(0, len(order), CHUNK):
            chunk = order[start : start + CHUNK]
            made = _split(chunk[np.lexsort((lengths[chunk], groups_of[chunk]))], lengths - heads, groups_of, tokens)
            for index in rng.permutation(len(made)):
                yield made[index]


def _split(
    ordered: NDArray[np.int64], lengths: NDArray[np.int64], groups_of: NDArray[np.int64], tokens: int
) -> list[NDArray[np.int64]]:
    """Split samples that are ordered by group and length into batches of one group.

    A batch has at most `tokens` tokens, including padding. The tokens that all its samples share do not count.
    """
    made, first = [], 0
    for last in range(1, len(ordered) + 1):
        full = last == len(ordered) or groups_of[ordered[last]] != groups_of[ordered[first]]
        if full or lengths[ordered[last]] * (last + 1 - first) > tokens:
            made.append(ordered[first:last])
            first = last
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=250_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--draw", default="training.generator:draw_sample", help="function that makes a sample, module:name"
    )
    parser.add_argument("--learn-past", action="store_true", help="include the answers of past turns in the loss")
    options = parser.parse_args()
    module, function = options.draw.split(":")
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    draw = getattr(import_module(module), function)
    dataset = encode(tokenizer, draw, options.samples, options.seed, learn_past=options.learn_past)
    dataset.save(options.out)
    learned = int(dataset.learned.sum())
    print(f"{len(dataset)} samples, {len(dataset.tokens) / 1e6:.2f}M tokens, {learned / 1e6:.2f}M to learn")


if __name__ == "__main__":
    main()
