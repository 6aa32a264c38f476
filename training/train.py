"""Trains pico-tiny for a fixed number of steps and writes checkpoints that can be resumed and exported.

python -m training.train DATA.npz CHECKPOINT.pt --steps 6000
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from training.dataset import LONGEST, Dataset, batches
from training.model import ModelShape, Qwen3
from training.optimizer import Optimizer, schedule

Indices = NDArray[np.int64]


@dataclass(slots=True)
class Progress:
    """Counters of a run, which are saved with the weights."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Run:
    """A model, its optimizer and its progress."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.model = Qwen3(ModelShape(), LONGEST)
        self.optimizer = Optimizer(self.model, options.matrix_rate, options.rate)
        self.progress = Progress()

    def __repr__(self) -> str:
        return f"<Run [step {self.progress.step} of {self.options.steps} | {self.progress.tokens / 1e6:.2f}M tokens]>"

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])

    def start_from(self, path: Path) -> None:
        """Load only the weights of a checkpoint or an exported folder, for a new schedule on a new mixture."""
        weights = exported(path) if path.is_dir() else torch.load(path, weights_only=True)["model"]
        self.model.load_state_dict(weights)

    def save(self, path: Path) -> None:
        progress = self.progress
        counters = {"step": progress.step, "tokens": progress.tokens, "seconds": progress.seconds}
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "progress": counters}
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def step(self, dataset: Dataset, indices: Indices) -> float:
        """Do one update. Returns the weighted loss per learned token."""
        ids, learned = (torch.from_numpy(array) for array in dataset.batch(indices))
        targets = torch.roll(ids, -1, 1)[learned]
        shared = dataset.shared(indices)
        logits = self.model.forward_shared(ids, learned, shared) if shared else self.model(ids, learned)
        losses = F.cross_entropy(logits, targets, reduction="none")
        weights = token_weights(learned, self.options.length_power)
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        average_gradients(self.optimizer.parameters)
        self.optimizer.step(schedule(self.progress.step, self.options.steps, self.options.warmup, self.options.flat))
        self.progress.step += 1
        self.progress.tokens += (ids.numel() - shared * (len(ids) - 1)) * workers()
        return loss.item()


def exported(folder: Path) -> dict[str, Tensor]:
    """The weights of a folder that training.export wrote, in float32."""
    return {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace each gradient by its mean over all processes."""
    if workers() == 1:
        return
    gradients = [parameter.grad for parameter in parameters]
    flat = torch.cat([gradient.view(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat.div_(workers())
    for gradient, averaged in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(averaged.view_as(gradient))


def workers() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def token_weights(learned: Tensor, power: float) -> Tensor:
    """The weights of the learned tokens in the loss.

    Each of the n tokens of a sample has the weight n**-power, so that long traces do not dominate the loss.
    """
    counts = learned.sum(1, keepdim=True).float()
    return (counts**-power).expand(learned.shape)[learned]


def train(run: Run, dataset: Dataset) -> None:
    options = run.options
    # All processes generate the same batches, and each process uses every n-th of them.
    first = run.progress.step * workers() + rank()
    own: Iterator[Indices] = islice(batches(dataset, options.batch, options.seed), first, None, workers())
    started = saved = time.monotonic() - run.progress.seconds
    losses: list[float] = []
    while run.progress.step < (options.pause_at or options.steps):
        losses.append(run.step(dataset, next(own)))
        run.progress.seconds = time.monotonic() - started
        if rank() == 0 and run.progress.step % 50 == 0:
            speed = run.progress.tokens / run.progress.seconds
            print(f"{run!r} loss {np.mean(losses):.4f} {speed:.0f} tokens/s {run.progress.seconds:.0f} s", flush=True)
            losses.clear()
        if rank() == 0 and time.monotonic() - saved > options.save_seconds:
            run.save(options.checkpoint)
            saved = time.monotonic()
    if rank() == 0:
        run.save(options.checkpoint)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=8192, help="tokens per step and process, including padding")
    parser.add_argument("--matrix-rate", type=float, default=0.02)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--flat", type=float, default=0.4, help="fraction of the run before the decay begins")
    parser.add_argument("--length-power", type=float, default=0.5, help="see token_weights")
    parser.add_argument("--pause-at", type=int, help="save and stop at this step of the schedule")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-seconds", type=float, default=180)
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    parser.add_argument("--start-from", type=Path, help="checkpoint or model folder with the initial weights")
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    if workers() > 1:
        dist.init_process_group("gloo")
    run = Run(options)
    if options.resume:
        run.resume(options.checkpoint)
    elif options.start_from:
        run.start_from(options.start_from)
    train(run, Dataset.load(options.data))
    print("done", repr(run), f"{run.progress.seconds:.0f} s")
    if workers() > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
