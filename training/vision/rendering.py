"""Renders a conversation as text, tokens and pixels, like template.jinja (tests compare both)."""

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.vision.conversation import Conversation, Scene, Turn
from training.vision.drawing import draw_look, render_clip, render_picture
from training.vision.labels import Labels, clip_labels, picture_labels
from training.vision.processing import Patches, cell_count, clip_patches, picture_patches, positions
from training.vision.scenes import FRAMES, Clip, Picture, Size

PICTURE, VIDEO, END = "<|image_pad|>", "<|video_pad|>", "<|im_end|>"
USER, ASSISTANT = "<|im_start|>user\n", f"{END}\n<|im_start|>assistant\n"
LENGTH_POWER = 0.5


def slot(token: str, count: int = 1) -> str:
    return f"<|vision_start|>{token * count}<|vision_end|>"


def render_turn(turn: Turn, slots: list[str]) -> tuple[str, str]:
    """The text before the answer, and the answer."""
    media = "".join(slots)
    question = turn.asked.question
    content = question + media if turn.behind else media + question
    return f"{USER}{content}{ASSISTANT}", f"{turn.asked.answer}{END}"


def render_system(system: str | None) -> str:
    return "" if system is None else f"<|im_start|>system\n{system}{END}\n"


def render_slot(rng: Random, scene: Scene) -> str:
    """The tokens of an image or a video. In a video, each pair of frames has its time."""
    count = cell_count(scene.frame)
    match scene:
        case Picture():
            return slot(PICTURE, count)
        case Clip():
            return "".join(f"<{time:.1f} seconds>{slot(VIDEO, count)}" for time in draw_times(rng))


def draw_times(rng: Random) -> list[float]:
    """The middle of each pair of sampled frames, in seconds."""
    rate, count = rng.choice((2, 4, 5, 8, 10, 12, 15, 24, 25, 30)), rng.choice((8, 10, 12, 16, 20, 24, 32, 40, 60, 90))
    sampled = np.linspace(0, count - 1, FRAMES).round() / rate
    return [float(pair.mean()) for pair in sampled.reshape(-1, 2)]


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text. `taught` means that its tokens are in the loss.

    A token attends to earlier tokens of branch 0 and of its own branch.
    """

    text: str
    taught: bool
    branch: int = 0


def pieces(rng: Random, conversation: Conversation) -> list[Piece]:
    """The text of a conversation, in order. In a branched conversation, each turn is a branch."""
    out = [Piece(render_system(conversation.system), taught=False)]
    if conversation.branched:
        media = "".join(render_slot(rng, scene) for scene in conversation.turns[0].scenes)
        out.append(Piece(f"{USER}{media}", taught=False))
        for branch, turn in enumerate(conversation.turns, start=1):
            out.append(Piece(f"{turn.asked.question}{ASSISTANT}", False, branch))
            out.append(Piece(f"{turn.asked.answer}{END}", True, branch))
        return out
    for turn in conversation.turns:
        opening, answer = render_turn(turn, [render_slot(rng, scene) for scene in turn.scenes])
        out += [Piece(opening, taught=False), Piece(answer, taught=True), Piece("\n", taught=False)]
    return out


@dataclass(slots=True)
class Encoded:
    """An encoded conversation. `weights` are the weights of the tokens in the loss.

    Each of the n tokens of an answer has the weight n**-0.5. All other tokens have the weight 0.
    """

    ids: list[int]
    weights: list[float]
    branches: list[int]
    patches: list[Patches]
    labels: list[Labels]


def encode(rng: Random, tokenizer: Tokenizer, conversation: Conversation) -> Encoded:
    row = Encoded([], [], [], [], [])
    parts = pieces(rng, conversation)
    encodings = tokenizer.encode_batch_fast([part.text for part in parts], add_special_tokens=False)
    for part, encoding in zip(parts, encodings, strict=True):
        count = len(encoding.ids)
        row.ids += encoding.ids
        row.weights += [count**-LENGTH_POWER if part.taught else 0.0] * count
        row.branches += [part.branch] * count
    for scene in conversation.scenes():
        patches, labels = see(rng, scene)
        row.patches.append(patches)
        row.labels.append(labels)
    return row


def see(rng: Random, scene: Scene) -> tuple[Patches, Labels]:
    """Draw and preprocess a scene. Returns its patches and its labels."""
    match scene:
        case Picture():
            pixels = render_picture(rng, scene, draw_look(rng))
            return picture_patches(pixels, scene.frame), picture_labels(scene)
        case Clip():
            frames = render_clip(rng, scene, draw_look(rng, largest=2.5))
            return clip_patches(frames, scene.frame), clip_labels(scene)


@dataclass(slots=True)
class Batch:
    """Encoded conversations as rows, padded on the right with 0. `weights` are those of the next token.

    ids, weights, branches: (rows, length); positions: (3, rows, length); patches: (groups, patches, values);
    labels: (groups, cells, 10). A group is a picture or a pair of frames. Groups are in the order of the rows.
    """

    frame: Size
    ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    branches: NDArray[np.int64]
    positions: NDArray[np.int64]
    patches: Patches
    labels: Labels


def collate(rows: list[Encoded], frame: Size, visual: tuple[int, int]) -> Batch:
    """Collect rows into a batch. `visual` are the ids of image and video tokens."""
    shape = len(rows), max(len(row.ids) for row in rows)
    batch = Batch(
        frame,
        ids=np.zeros(shape, np.int64),
        weights=np.zeros(shape, np.float32),
        branches=np.zeros(shape, np.int64),
        positions=np.zeros((3, *shape), np.int64),
        patches=np.concatenate([patches for row in rows for patches in row.patches]),
        labels=np.concatenate([labels for row in rows for labels in row.labels]),
    )
    for i, row in enumerate(rows):
        count = len(row.ids)
        batch.ids[i, :count] = row.ids
        batch.weights[i, : count - 1] = row.weights[1:]
        batch.branches[i, :count] = row.branches
        batch.positions[:, i, :count] = branched_positions(row, frame, visual)
    return batch


def branched_positions(row: Encoded, frame: Size, visual: tuple[int, int]) -> NDArray[np.int64]:
    """The rotary positions (3, length) of a row. Every branch continues at the end of branch 0."""
    places = positions(row.ids, visual, frame)
    branches = np.array(row.branches)
    if not branches.any():
        return places
    first_branched = int(np.argmax(branches > 0))
    for branch in range(1, branches.max() + 1):
        own = branches == branch
        places[:, own] += places[0, first_branched] - places[0, own][0]
    return places
