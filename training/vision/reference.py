"""Writes the PyTorch model's logits for a few random conversations. parity.py compares them with mlx-vlm's.

python -m training.vision.reference CHECKPOINT.pt TOKENIZER.json OUT.npz
"""

import argparse
from pathlib import Path
from random import Random

import numpy as np
import torch
from tokenizers import Tokenizer

from training.vision.conversation import KINDS, draw_conversation
from training.vision.model import Qwen3VL
from training.vision.processing import FRAME_SIZES
from training.vision.rendering import PICTURE, VIDEO, collate, encode

SEED = 77


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    visual = (tokenizer.token_to_id(PICTURE), tokenizer.token_to_id(VIDEO))
    model = Qwen3VL()
    model.load_state_dict(torch.load(options.checkpoint, weights_only=True)["model"])
    rng = Random(SEED)
    arrays: dict[str, np.ndarray] = {}
    for i, (frame, kind) in enumerate((frame, kind) for frame in FRAME_SIZES for kind in KINDS if kind != "talk"):
        conversation = draw_conversation(rng, frame, kind)
        conversation.branched = False
        batch = collate([encode(rng, tokenizer, conversation)], frame, visual)
        ids = torch.from_numpy(batch.ids)
        tokens, _ = model.see(torch.from_numpy(batch.patches), frame)
        logits = model.read(
            ids,
            (ids == visual[0]) | (ids == visual[1]),
            tokens,
            positions=torch.from_numpy(batch.positions),
            branches=torch.from_numpy(batch.branches),
            learned=torch.from_numpy(batch.weights) > 0,
        )
        arrays |= {f"{i} ids": batch.ids, f"{i} patches": batch.patches, f"{i} frame": np.array(frame)}
        arrays |= {f"{i} learned": batch.weights > 0, f"{i} logits": logits.numpy()}
    np.savez(options.out, **arrays)


if __name__ == "__main__":
    main()
