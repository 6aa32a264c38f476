"""Qwen3-VL in PyTorch for training on a CPU: a small vision tower, followed by layers of pico-tiny.

Parameter names are those of the released models. The tower processes groups of patches. A group is a picture, or a pair
of frames.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.model import ModelShape, Stack
from training.vision.labels import CLASSES
from training.vision.processing import MERGE, PAIR, PATCH

EPSILON = 1e-6
THETA = 10000.0
# Number of rotary frequencies of a head for time, row and column. They are interleaved.
SECTIONS = (6, 5, 5)


@dataclass(frozen=True, slots=True)
class VisionShape:
    """The dimensions of the vision tower. The position table has grid * grid entries, and is resized for each frame."""

    hidden: int = 128
    layers: int = 4
    feed_forward: int = 384
    heads: int = 4
    grid: int = 8


TEXT_SHAPE = ModelShape(layers=4)
VISION_SHAPE = VisionShape()


class VisionAttention(nn.Module):
    """Attention within each group of patches."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.proj = nn.Linear(shape.hidden, shape.hidden)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x: (groups, patches, hidden); cos, sin: (patches, head width)."""
        groups, patches, hidden = x.shape
        width = hidden // self.heads
        projected = self.qkv(x).view(groups, patches, 3 * self.heads, width)
        turned = turn(projected[:, :, : 2 * self.heads], cos[:, None], sin[:, None]).transpose(1, 2)
        q, k = turned[:, : self.heads] * width**-0.5, turned[:, self.heads :]
        v = projected[:, :, 2 * self.heads :].transpose(1, 2)
        attended = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.proj(attended.transpose(1, 2).reshape(groups, patches, hidden))


class VisionFeedForward(nn.Module):
    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(shape.hidden, shape.feed_forward)
        self.linear_fc2 = nn.Linear(shape.feed_forward, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_fc2(F.gelu(self.linear_fc1(x), approximate="tanh"))


class VisionLayer(nn.Module):
    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.hidden, eps=EPSILON)
        self.norm2 = nn.LayerNorm(shape.hidden, eps=EPSILON)
        self.attn = VisionAttention(shape)
        self.mlp = VisionFeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), cos, sin)
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    """The convolution of the released models. Patches do not overlap, so it is computed as a matrix product."""

    def __init__(self, shape: VisionShape) -> None:
        super().__init__()
        kernel = (PAIR, PATCH, PATCH)
        self.proj = nn.Conv3d(3, shape.hidden, kernel, kernel)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.proj.weight.flatten(1), self.proj.bias)


class Merger(nn.Module):
    """Merges four patches into one token of the text model's width."""

    def __init__(self, shape: VisionShape, width: int) -> None:
        super().__init__()
        self.merged = shape.hidden * MERGE**2
        self.norm = nn.LayerNorm(shape.hidden, eps=EPSILON)
        self.linear_fc1 = nn.Linear(self.merged, self.merged)
        self.linear_fc2 = nn.Linear(self.merged, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x).reshape(x.shape[0], -1, self.merged)
        return self.linear_fc2(F.gelu(self.linear_fc1(x)))


class VisionTower(nn.Module):
    def __init__(self, shape: VisionShape, width: int) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbedding(shape)
        self.pos_embed = nn.Embedding(shape.grid**2, shape.hidden)
        self.blocks = nn.ModuleList([VisionLayer(shape) for _ in range(shape.layers)])
        self.merger = Merger(shape, width)

    def forward(self, patches: Tensor, frame: tuple[int, int]) -> Tensor:
        """patches: (groups, patches, values). Returns (groups, cells, width)."""
        rows, columns = frame[0] // PATCH, frame[1] // PATCH
        order = cell_order(rows, columns)
        x = self.patch_embed(patches) + self._position_table(rows, columns)[order]
        cos, sin = self._turns(rows, columns, order)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.merger(x)

    def _position_table(self, rows: int, columns: int) -> Tensor:
        """The square position table, resized to rows * columns by linear interpolation."""
        vertical, horizontal = stretching(self.shape.grid, rows), stretching(self.shape.grid, columns)
        table = self.pos_embed.weight.view(self.shape.grid, self.shape.grid, -1)
        return torch.einsum("rg,ch,ghd->rcd", vertical, horizontal, table).flatten(0, 1)

    def _turns(self, rows: int, columns: int, order: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin: (patches, head width). Half of the frequencies encode the row, half the column."""
        half = self.shape.hidden // self.shape.heads // 2
        frequencies = 1.0 / THETA ** (torch.arange(0, half, 2).float() / half)
        row, column = order // columns, order % columns
        angles = torch.cat([row[:, None] * frequencies, column[:, None] * frequencies], -1)
        angles = torch.cat([angles, angles], -1)
        return angles.cos(), angles.sin()


class Inner(nn.Module):
    def __init__(self, text: ModelShape, vision: VisionShape) -> None:
        super().__init__()
        self.language_model = Stack(text)
        self.visual = VisionTower(vision, text.hidden)


class Qwen3VL(nn.Module):
    """The whole model. The embedding is also the output head. `dense_head` predicts the labels, for training only."""

    def __init__(self, text: ModelShape = TEXT_SHAPE, vision: VisionShape = VISION_SHAPE) -> None:
        super().__init__()
        self.model = Inner(text, vision)
        self.dense_head = nn.Linear(text.hidden, sum(CLASSES.values()))
        frequencies = 1.0 / text.rope_theta ** (torch.arange(0, text.head_width, 2).float() / text.head_width)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.register_buffer("dimensions", frequency_dimensions(text.head_width // 2), persistent=False)
        self._initialise(text.layers)

    def _initialise(self, layers: int) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                if name.endswith("bias"):
                    nn.init.zeros_(parameter)
                continue
            deviation = 0.6 / math.sqrt(parameter[0].numel())
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                deviation = 0.04 / math.sqrt(2 * layers)
            elif "embed_tokens" in name or "pos_embed" in name:
                deviation = 0.02
            nn.init.normal_(parameter, 0, deviation)

    def see(self, patches: Tensor, frame: tuple[int, int]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Visual tokens (groups, cells, hidden), and the logits of each label (groups, cells, classes)."""
        tokens = self.model.visual(patches, frame)
        return tokens, self.dense_head(tokens).split(list(CLASSES.values()), -1)

    def read(
        self, ids: Tensor, visual: Tensor, tokens: Tensor, *, positions: Tensor, branches: Tensor, learned: Tensor
    ) -> Tensor:
        """Logits (learned positions, vocabulary).

        ids, branches: (rows, length); visual, learned: (rows, length), bool; positions: (3, rows, length). `tokens`
        replace the embeddings at the positions that `visual` marks. A position attends to earlier positions of branch 0
        and of its own branch.
        """
        stack = self.model.language_model
        x = stack.embed_tokens(ids).masked_scatter(visual[..., None], tokens.float())
        cos, sin = self._turns(positions)
        mask = branch_mask(branches)
        for layer in stack.layers[:-1]:
            x = layer.feed(layer.attend(x, cos, sin, mask))
        last = stack.layers[-1]
        x = last.feed(last.attend(x, cos, sin, mask)[learned])
        return F.linear(stack.norm(x), stack.embed_tokens.weight)

    def _turns(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin: (rows, length, head width). Each frequency encodes time, row or column."""
        chosen = positions.float()[self.dimensions].permute(1, 2, 0)
        angles = chosen * self.frequencies
        angles = torch.cat([angles, angles], -1)
        return angles.cos(), angles.sin()


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate queries or keys to their positions."""
    half = x.shape[-1] // 2
    rotated = torch.cat([-x[..., half:], x[..., :half]], -1)
    return torch.addcmul(x * cos, rotated, sin)


def cell_order(rows: int, columns: int) -> Tensor:
    """The patch numbers of a frame, ordered so that the four patches of a cell follow each other."""
    grid = torch.arange(rows * columns).view(rows // MERGE, MERGE, columns // MERGE, MERGE)
    return grid.permute(0, 2, 1, 3).reshape(-1)


def stretching(size: int, count: int) -> Tensor:
    """The weights (count, size) that interpolate a table of `size` entries at `count` evenly spaced places."""
    places = torch.linspace(0, size - 1, count)
    return (1 - (places[:, None] - torch.arange(size)).abs()).clamp(min=0)


def frequency_dimensions(count: int) -> Tensor:
    """The dimension that each frequency encodes: time (0), row (1) or column (2)."""
    dimensions = torch.zeros(count, dtype=torch.long)
    for dimension in (1, 2):
        dimensions[dimension : SECTIONS[dimension] * 3 : 3] = dimension
    return dimensions


def branch_mask(branches: Tensor) -> Tensor:
    """The attention mask (rows, 1, 1, length, length): 0 where a position may attend, else -inf."""
    length = branches.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    reachable = (branches[:, None, :] == 0) | (branches[:, None, :] == branches[:, :, None])
    return torch.zeros(reachable.shape).masked_fill_(~(earlier & reachable), -torch.inf)[:, None, None]
