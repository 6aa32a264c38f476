"""Qwen3 in PyTorch for training on a CPU. Parameter names are those of the released models.

It makes fewer passes over memory than the textbook version. Attention uses plain matrix products, because the backward
pass of PyTorch's fused attention is slow on a CPU. Only positions whose next token is in the loss reach the last
feed-forward layer and the head.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-6
KeysValues = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The dimensions. Widths of matrices are divisible by 64, so that the weights can be quantised."""

    vocabulary: int = 1536
    hidden: int = 128
    layers: int = 6
    feed_forward: int = 384
    heads: int = 4
    key_value_heads: int = 2
    head_width: int = 32
    rope_theta: float = 10000.0
    context: int = 4096


class NormFunction(torch.autograd.Function):
    """Root-mean-square norm, optionally with a weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None) -> Tensor:
        width = x.shape[-1]
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().mul_(1 / width).add_(EPSILON).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        y = x * scale
        return y if weight is None else y.mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None]:
        x, weight, scale = ctx.saved_tensors
        grad = grads[0].contiguous()
        width = x.shape[-1]
        product = grad * x
        if weight is None:
            total, weight_grad, direct = product.sum(-1, keepdim=True), None, grad
        else:
            rows = product.view(-1, width)
            total = (rows @ weight.unsqueeze(1)).view(scale.shape)
            weight_grad = (scale.view(1, -1) @ rows).view(width)
            direct = grad * weight
        correction = total * scale * scale * (-1 / width)
        return torch.addcmul(direct, x, correction).mul_(scale), weight_grad


class GatedFunction(torch.autograd.Function):
    """silu(gate) * up, with both halves in one tensor."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, -1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, -1)
        out = torch.empty_like(gate_up)
        gate_grad, up_grad = out.chunk(2, -1)
        torch.mul(grads[0], F.silu(gate), out=up_grad)
        gate_grad.copy_(torch.ops.aten.silu_backward(grads[0] * up, gate))
        return out


def linear(size_in: int, size_out: int) -> nn.Linear:
    return nn.Linear(size_in, size_out, bias=False)


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return NormFunction.apply(x, self.weight)


class Attention(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        queries, keys = shape.heads * shape.head_width, shape.key_value_heads * shape.head_width
        self.q_proj = linear(shape.hidden, queries)
        self.k_proj = linear(shape.hidden, keys)
        self.v_proj = linear(shape.hidden, keys)
        self.o_proj = linear(queries, shape.hidden)
        self.q_norm = Norm(shape.head_width)
        self.k_norm = Norm(shape.head_width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past: KeysValues | None = None) -> Tensor:
        """x: (batch, length, hidden); cos, sin: (length, head width); mask: (length, length), 0 or -inf.

        If the rows differ, cos and sin have the batch as first axis, and the mask is (batch, 1, 1, length, length).
        `past` holds the keys and values of a prefix that all rows share. The mask then has a column for each of them.
        """
        return self.attend(x, cos, sin, mask, past)[0]

    def attend(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past: KeysValues | None = None
    ) -> tuple[Tensor, KeysValues]:
        """The same, and the keys and values of x."""
        batch, length, _ = x.shape
        shape = self.shape
        heads, groups, width = shape.heads, shape.key_value_heads, shape.head_width
        weights = torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight])
        projected = F.linear(x, weights).view(batch, length, heads + 2 * groups, width)
        turned = self._normed_and_turned(projected[:, :, : heads + groups].contiguous(), cos, sin).transpose(1, 2)
        q = turned[:, :heads].reshape(batch, groups, heads // groups * length, width)
        own = turned[:, heads:], projected[:, :, heads + groups :].transpose(1, 2)
        k, v = (
            own
            if past is None
            else (torch.cat([p.expand(batch, -1, -1, -1), o], 2) for p, o in zip(past, own, strict=True))
        )
        scores = (q @ k.transpose(-1, -2)).view(batch, groups, heads // groups, length, -1)
        attended = torch.add(mask, scores, alpha=width**-0.5).softmax(-1).view(batch, groups, -1, k.shape[2]) @ v
        y = self.o_proj(attended.view(batch, heads, length, width).transpose(1, 2).reshape(batch, length, -1))
        return y, own

    def _normed_and_turned(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Normalise queries and keys, and rotate them to their positions.

        The weights of the norms are multiplied into the rotary tables, which saves a pass over memory.
        """
        shape, half = self.shape, self.shape.head_width // 2
        q_weight = self.q_norm.weight.expand(shape.heads, -1)
        weight = torch.cat([q_weight, self.k_norm.weight.expand(shape.key_value_heads, -1)])
        swapped = torch.cat([weight[:, half:], weight[:, :half]], 1)
        normed = NormFunction.apply(x, None)
        rotated = torch.cat([-normed[..., half:], normed[..., :half]], -1)
        return torch.addcmul(normed * (cos[..., None, :] * weight), rotated, sin[..., None, :] * swapped)


class FeedForward(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.gate_proj = linear(shape.hidden, shape.feed_forward)
        self.up_proj = linear(shape.hidden, shape.feed_forward)
        self.down_proj = linear(shape.feed_forward, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.cat([self.gate_proj.weight, self.up_proj.weight])
        return self.down_proj(GatedFunction.apply(F.linear(x, weights)))


class Layer(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = FeedForward(shape)
        self.input_layernorm = Norm(shape.hidden)
        self.post_attention_layernorm = Norm(shape.hidden)

    def attend(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past: KeysValues | None = None) -> Tensor:
        return x + self.self_attn(self.input_layernorm(x), cos, sin, mask, past)

    def feed(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.post_attention_layernorm(x))


class Stack(nn.Module):
    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList([Layer(shape) for _ in range(shape.layers)])
        self.norm = Norm(shape.hidden)


class Qwen3(nn.Module):
    """The whole model. The embedding is also the output head."""

    def __init__(self, shape: ModelShape, longest: int) -> None:
        super().__init__()
        self.model = Stack(shape)
        cos, sin = rope_tables(longest, shape.head_width, shape.rope_theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("mask", torch.full((longest, longest), -torch.inf).triu(1), persistent=False)
        self._initialise(shape.layers)

    def _initialise(self, layers: int) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() != 2:
                continue
            deviation = 0.6 / math.sqrt(parameter.shape[1])
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                deviation = 0.04 / math.sqrt(2 * layers)
            elif "embed" in name:
                deviation = 0.02
            nn.init.normal_(parameter, 0, deviation)

    def forward(self, ids: Tensor, learned: Tensor) -> Tensor:
        """ids: (batch, length); learned: (batch, length), bool. Returns logits (learned positions, vocabulary)."""
        length = ids.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        mask = self.mask[:length, :length].contiguous()
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers[:-1]:
            x = layer.feed(layer.attend(x, cos, sin, mask))
        last = self.model.layers[-1]
        x = last.feed(last.attend(x, cos, sin, mask)[learned])
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)

    def forward_shared(self, ids: Tensor, learned: Tensor, shared: int) -> Tensor:
        """As forward, for rows whose first `shared` tokens are equal and not learned. These are computed once."""
        length, layers = ids.shape[1], self.model.layers
        cos, sin, mask = self.cos[:length], self.sin[:length], self.mask[:length, :length]
        p, x = self.model.embed_tokens(ids[:1, :shared]), self.model.embed_tokens(ids[:, shared:])
        for layer in layers:
            y, past = layer.self_attn.attend(
                layer.input_layernorm(p), cos[:shared], sin[:shared], mask[:shared, :shared].contiguous()
            )
            x = layer.attend(x, cos[shared:], sin[shared:], mask[shared:].contiguous(), past)
            if layer is layers[-1]:
                return F.linear(self.model.norm(layer.feed(x[learned[:, shared:]])), self.model.embed_tokens.weight)
            p, x = layer.feed(p + y), layer.feed(x)
        raise ValueError("a model has at least one layer")


def rope_tables(length: int, width: int, theta: float) -> tuple[Tensor, Tensor]:
    frequencies = 1.0 / theta ** (torch.arange(0, width, 2).float() / width)
    angles = torch.outer(torch.arange(length).float(), frequencies)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()
