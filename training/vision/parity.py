"""Compares the logits of the exported model in mlx-vlm with those of the PyTorch model, which reference.py writes.

python -m training.vision.parity FOLDER REFERENCE.npz
"""

import argparse
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_vlm import load
from numpy.typing import NDArray

from training.vision.processing import PATCH


def logits_of(model: Any, ids: NDArray[np.int64], patches: NDArray[np.float32], frame: tuple[int, int]) -> mx.array:
    """The logits of mlx-vlm's model. patches: (groups, patches, values).

    Each group is an image, or the groups are the pairs of frames of one video.
    """
    rows, columns = (side // PATCH for side in frame)
    pixels = mx.array(patches.reshape(-1, patches.shape[-1]))
    if (ids == model.config.video_token_id).any():
        media = {"pixel_values_videos": pixels, "video_grid_thw": mx.array([[len(patches), rows, columns]])}
    else:
        media = {"pixel_values": pixels, "image_grid_thw": mx.array([[1, rows, columns]] * len(patches))}
    return model(mx.array(ids), **media).logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("reference", type=Path)
    options = parser.parse_args()
    model, _ = load(str(options.folder))
    same: list[float] = []
    with np.load(options.reference) as file:
        for i in range(len(file.files) // 5):
            ids, patches, frame, learned, expected = (
                file[f"{i} {name}"] for name in ("ids", "patches", "frame", "learned", "logits")
            )
            logits = np.array(logits_of(model, ids, patches, tuple(frame.tolist())).astype(mx.float32))[learned]
            same.append(float((logits.argmax(-1) == expected.argmax(-1)).mean()))
            print(f"{i} {frame} largest difference {np.abs(logits - expected).max():.3f}, same token {same[-1]:.3f}")
    print(f"same token: {np.mean(same):.4f}")


if __name__ == "__main__":
    main()
