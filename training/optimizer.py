"""Optimizes the matrices of the layers with Muon and all other parameters with AdamW, with one schedule.

Everything is float32. PyTorch's Muon orthogonalises in bfloat16, which is very slow on a CPU without bfloat16 units.
"""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Move the singular values of each matrix (count, rows, columns) towards one."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon: orthogonalised momentum. Matrices with the same shape are processed together."""

    def __init__(self, matrices: list[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.01) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for matrix in group["params"]:
                by_shape[matrix.shape].append(matrix)
            for matrices in by_shape.values():
                self._step_alike(matrices, group)

    def _step_alike(self, matrices: list[nn.Parameter], group: dict[str, Any]) -> None:
        updates = orthogonalised(torch.stack([self._momentum(matrix, group["momentum"]) for matrix in matrices]))
        rows, columns = matrices[0].shape
        scale = group["lr"] * max(1.0, rows / columns) ** 0.5
        for matrix, update in zip(matrices, updates, strict=True):
            matrix.mul_(1 - group["lr"] * group["decay"]).sub_(update, alpha=scale)

    def _momentum(self, matrix: nn.Parameter, momentum: float) -> Tensor:
        state = self.state[matrix]
        if "average" not in state:
            state["average"] = torch.zeros_like(matrix)
        gradient = matrix.grad
        average = state["average"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)


class Optimizer:
    """Both optimizers. The `factor` of a step multiplies both learning rates."""

    def __init__(self, model: nn.Module, matrix_rate: float, other_rate: float) -> None:
        self.parameters = list(model.parameters())
        named = list(model.named_parameters())
        matrices = [p for name, p in named if p.dim() == 2 and "embed" not in name]
        others = [p for name, p in named if p.dim() != 2 or "embed" in name]
        self.rates = (matrix_rate, other_rate)
        adam = torch.optim.AdamW(others, lr=other_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self.optimizers = (Muon(matrices, matrix_rate), adam)

    def step(self, factor: float) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


def schedule(step: int, steps: int, warmup: int = 100, flat: float = 0.4) -> float:
    """The learning-rate factor of a step. It rises linearly to one, is constant, and then falls linearly to zero."""
    progress = step / steps
    decay = 1.0 if progress < flat else (1 - progress) / (1 - flat)
    return min(1.0, (step + 1) / warmup) * decay
