"""Trains pico-tiny-vl: first the vision tower, on the labels of cells, then the whole model, on answers.

python -m training.vision.train see TOKENIZER.json CHECKPOINT.pt --steps 3000
python -m training.vision.train answer TOKENIZER.json CHECKPOINT.pt --steps 6000 --start-from SEEING.pt --text WEIGHTS
"""

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from training.optimizer import Optimizer, schedule
from training.train import average_gradients, rank, workers
from training.vision.conversation import draw_conversation
from training.vision.labels import CLASSES, Labels
from training.vision.model import Qwen3VL
from training.vision.processing import FRAME_SIZES, Patches
from training.vision.rendering import PICTURE, VIDEO, Batch, collate, encode, see
from training.vision.scenes import Size, draw_clip, draw_picture

# The layers of pico-tiny (of six) that initialise pico-tiny-vl.
TEXT_LAYERS = (0, 1, 2, 5)


@dataclass(slots=True)
class Progress:
    """Counters of a run, which are saved with the weights."""

    step: int = 0
    groups: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Report:
    """The losses since the last log line, and the accuracy of the labels in cells that contain a thing."""

    losses: list[list[float]] = field(default_factory=list)
    right: list[list[float]] = field(default_factory=list)

    def __repr__(self) -> str:
        dense, answers = np.mean(self.losses, 0)
        shares = ", ".join(f"{name} {share:.3f}" for name, share in zip(CLASSES, np.mean(self.right, 0), strict=True))
        return f"dense {dense:.3f} answers {answers:.4f} | {shares}"


class Run:
    """A model, its optimizer and its progress."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.tokenizer = Tokenizer.from_file(str(options.tokenizer))
        self.visual = (self.tokenizer.token_to_id(PICTURE), self.tokenizer.token_to_id(VIDEO))
        self.model = Qwen3VL()
        seeing = nn.ModuleList([self.model.model.visual, self.model.dense_head])
        trained = seeing if options.stage == "see" else self.model
        self.optimizer = Optimizer(trained, options.matrix_rate, options.rate)
        self.progress = Progress()
        self.report = Report()

    def __repr__(self) -> str:
        progress = self.progress
        return (
            f"<Run [step {progress.step} of {self.options.steps} | {progress.groups / 1e3:.0f}k groups"
            f" | {progress.tokens / 1e6:.2f}M tokens]>"
        )

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])

    def start_from(self, path: Path) -> None:
        """Load the weights only, for a new stage or a new schedule.

        If labels were added at the end of CLASSES since the checkpoint, their weights keep the initial values.
        """
        weights = torch.load(path, weights_only=True)["model"]
        for name, old in self.model.state_dict().items():
            if name.startswith("dense_head"):
                weights[name] = torch.cat([weights[name], old[len(weights[name]) :]])
        self.model.load_state_dict(weights)

    def load_text_layers(self, path: Path) -> None:
        """Initialise the text layers from pico-tiny's model.safetensors."""
        weights = load_file(path)
        stack = self.model.model.language_model
        named = {"embed_tokens.weight": "embed_tokens.weight", "norm.weight": "norm.weight"}
        for layer, source in enumerate(TEXT_LAYERS):
            for name in stack.layers[layer].state_dict():
                named[f"layers.{layer}.{name}"] = f"layers.{source}.{name}"
        stack.load_state_dict({name: weights[f"model.{source}"].float() for name, source in named.items()})

    def save(self, path: Path) -> None:
        progress = self.progress
        counters = {name: getattr(progress, name) for name in ("step", "groups", "tokens", "seconds")}
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "progress": counters}
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def step(self) -> None:
        """Do one update. The data depend only on the seed, the step and the process."""
        rng = Random(f"{self.options.seed}:{self.progress.step}:{rank()}")
        frame = rng.choices(list(FRAME_SIZES), list(FRAME_SIZES.values()))[0]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.half):
            loss = self._see(rng, frame) if self.options.stage == "see" else self._answer(rng, frame)
        loss.backward()
        average_gradients(self.optimizer.parameters)
        options = self.options
        self.optimizer.step(schedule(self.progress.step, options.steps, options.warmup, options.flat))
        self.progress.step += 1

    def _see(self, rng: Random, frame: Size) -> Tensor:
        """The loss of a batch of scenes. A quarter of the scenes are clips, which have four pairs of frames each."""
        draws = [draw_clip if rng.random() < 0.25 else draw_picture for _ in range(self.options.batch)]
        seen = [see(rng, draw(rng, frame)) for draw in draws]
        patches, labels = (np.concatenate(arrays) for arrays in zip(*seen, strict=True))
        _, dense = self._dense_loss(patches, labels, frame)
        self.report.losses.append([dense.item(), 0.0])
        return dense

    def _answer(self, rng: Random, frame: Size) -> Tensor:
        drawn = (draw_conversation(rng, frame, freely=self.options.freely) for _ in range(self.options.batch))
        rows = [encode(rng, self.tokenizer, conversation) for conversation in drawn]
        batch = collate(rows, frame, self.visual)
        tokens, dense = self._dense_loss(batch.patches, batch.labels, frame)
        answers = self._answer_loss(batch, tokens)
        self.progress.tokens += batch.ids.size * workers()
        self.report.losses.append([dense.item(), answers.item()])
        return answers + self.options.dense_weight * dense

    def _dense_loss(self, patches: Patches, labels: Labels, frame: Size) -> tuple[Tensor, Tensor]:
        """Run the vision tower. Returns the visual tokens, and the loss of the labels of their cells."""
        tokens, logits = self.model.see(torch.from_numpy(patches), frame)
        targets = torch.from_numpy(labels)
        losses = [F.cross_entropy(x.flatten(0, 1), targets[..., i].flatten()) for i, x in enumerate(logits)]
        there = targets[..., 0] > 0
        right = [(x.argmax(-1) == targets[..., i])[there].float().mean().item() for i, x in enumerate(logits)]
        self.report.right.append(right)
        self.progress.groups += len(patches) * workers()
        return tokens, torch.stack(losses).sum()

    def _answer_loss(self, batch: Batch, tokens: Tensor) -> Tensor:
        ids, weights = torch.from_numpy(batch.ids), torch.from_numpy(batch.weights)
        learned = weights > 0
        logits = self.model.read(
            ids,
            (ids == self.visual[0]) | (ids == self.visual[1]),
            tokens,
            positions=torch.from_numpy(batch.positions),
            branches=torch.from_numpy(batch.branches),
            learned=learned,
        )
        losses = F.cross_entropy(logits, ids.roll(-1, 1)[learned], reduction="none")
        return (losses * weights[learned]).sum() / weights.sum()


def train(run: Run) -> None:
    options = run.options
    started = saved = time.monotonic() - run.progress.seconds
    while run.progress.step < (options.pause_at or options.steps):
        run.step()
        run.progress.seconds = time.monotonic() - started
        if rank() == 0 and run.progress.step % 50 == 0:
            print(f"{run!r} {run.progress.seconds:.0f} s {run.report!r}", flush=True)
            run.report = Report()
        if rank() == 0 and time.monotonic() - saved > options.save_seconds:
            run.save(options.checkpoint)
            saved = time.monotonic()
    if rank() == 0:
        run.save(options.checkpoint)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("see", "answer"))
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=24, help="scenes or conversations per step and process")
    parser.add_argument(
        "--dense-weight", type=float, default=0.3, help="weight of the label loss beside the answer loss"
    )
    parser.add_argument("--freely", type=float, default=0.0, help="fraction of questions in unusual words")
    parser.add_argument("--matrix-rate", type=float, default=0.02)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--flat", type=float, default=0.4, help="fraction of the run before the decay begins")
    parser.add_argument("--pause-at", type=int, help="save and stop at this step of the schedule")
    parser.add_argument("--half", action="store_true", help="matrix products in bfloat16, for a CPU with bf16 units")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-seconds", type=float, default=150)
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    parser.add_argument("--start-from", type=Path, help="checkpoint with the initial weights")
    parser.add_argument("--text", type=Path, help="pico-tiny's model.safetensors, the initial text layers")
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
    if options.text and not options.resume:
        run.load_text_layers(options.text)
    train(run)
    print("done", repr(run), f"{run.progress.seconds:.0f} s")
    if workers() > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
