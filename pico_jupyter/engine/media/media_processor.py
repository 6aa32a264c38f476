"""MediaProcessor: a vision model's processor, which turns a rendered prompt and decoded media into tokens and arrays.

A processor is loaded from local files only and runs no code from the model folder. Some processors of mlx-vlm return
mlx arrays. These arrays are computed already, so preparation threads may convert them to numpy arrays.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from pico_jupyter.engine.media.video import DecodedVideo
from pico_jupyter.errors import InvalidRequest, ModelLoadFailed

# Processors raise these when a prompt does not match its media.
PROCESSOR_FAILURES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, StopIteration)

_IMAGE_KEYS = ("image_token_id", "image_token_index")
_VIDEO_KEYS = ("video_token_id", "video_token_index")


@dataclass(frozen=True, slots=True, eq=False)
class ProcessedPrompt:
    """The tokens of a prompt, with one placeholder token per feature of its media, and the model's inputs by name."""

    tokens: list[int]
    inputs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FrameSampling:
    """How many frames of a video a model expects: exactly `count`, or at most `maximum`. None: not specified."""

    count: int | None = None
    maximum: int | None = None


class MediaProcessor:
    """The processor of one model. Thread-safe.

    `image_ids` and `video_ids` are the placeholder tokens that stand for the features of images and videos.
    """

    def __init__(self, hf: Any, *, image_ids: frozenset[int], video_ids: frozenset[int]) -> None:
        self._hf = hf
        self._lock = threading.Lock()
        self.image_ids = image_ids
        self.video_ids = video_ids

    def __repr__(self) -> str:
        return f"<MediaProcessor {type(self._hf).__name__}>"

    @property
    def frame_sampling(self) -> FrameSampling:
        """How many frames of each video the model expects."""
        video_processor = getattr(self._hf, "video_processor", None)
        minimum, maximum = (getattr(video_processor, name, None) for name in ("min_frames", "max_frames"))
        return FrameSampling(count=maximum if maximum and minimum == maximum else None, maximum=maximum)

    def placeholder(self, kind: str) -> str:
        """The processor's placeholder for an "image" or a "video" in a prompt; "" if it has none."""
        return str(getattr(self._hf, f"{kind}_token", None) or "")

    def process(self, text: str, images: Sequence[Image], videos: Sequence[DecodedVideo]) -> ProcessedPrompt:
        """Process a rendered prompt that contains a placeholder for each image and video. Raises InvalidRequest."""
        media: dict[str, Any] = {"images": list(images)} if images else {}
        if videos:
            media |= _video_inputs(videos)
        with self._lock:
            try:
                outputs = self._call(text, media)
            except PROCESSOR_FAILURES as error:
                reason = f"the model's processor cannot process the prompt: {error}"
                raise InvalidRequest(reason, param="messages") from error
        tokens = [int(token) for token in np.asarray(outputs.pop("input_ids")).reshape(-1)]
        outputs.pop("attention_mask", None)
        return ProcessedPrompt(tokens, {name: _as_numpy(value) for name, value in outputs.items() if value is not None})

    def _call(self, text: str, media: Mapping[str, Any]) -> dict[str, Any]:
        try:
            outputs = self._hf(text=[text], add_special_tokens=False, return_tensors="np", **media)
        except TypeError as error:
            # Some processors pass all keywords to their image processor, which rejects those of the tokenizer.
            if "unexpected keyword" not in str(error):
                raise
            outputs = self._hf(text=[text], **media)
        return dict(outputs)


def load_processor(path: Path) -> MediaProcessor:
    """Load the processor of the model folder `path`. Raises ModelLoadFailed, with a remedy if PyTorch is missing."""
    from mlx_vlm.utils import get_model_and_args
    from mlx_vlm.utils import load_processor as load

    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    try:
        # This imports the family's module, which replaces processors that need PyTorch with processors of mlx-vlm.
        get_model_and_args(config)
        hf = load(path, add_detokenizer=False, trust_remote_code=False, local_files_only=True)
    except ImportError as error:
        raise ModelLoadFailed(
            f"the processor of this model needs PyTorch: pip install torch torchvision ({_first_line(error)})"
        ) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelLoadFailed(f"the processor cannot be loaded: {_first_line(error)}") from error
    if getattr(hf, "image_processor", None) is None:
        raise ModelLoadFailed("the processor of this model accepts no images")
    return MediaProcessor(
        hf, image_ids=_token_ids(config, hf, _IMAGE_KEYS), video_ids=_token_ids(config, hf, _VIDEO_KEYS)
    )


def _video_inputs(videos: Sequence[DecodedVideo]) -> dict[str, Any]:
    """The keyword arguments of a processor for videos. All families accept frames as (count, 3, height, width)."""
    metadata = [
        {"fps": video.source_fps, "frames_indices": list(video.indices), "total_num_frames": video.source_frames}
        for video in videos
    ]
    return {
        "videos": [np.ascontiguousarray(video.frames.transpose(0, 3, 1, 2)) for video in videos],
        "fps": [video.sampled_fps for video in videos],
        "video_metadata": metadata,
    }


def _token_ids(config: Mapping[str, Any], hf: Any, keys: Sequence[str]) -> frozenset[int]:
    found = [config.get(key) for key in keys] + [getattr(hf, key, None) for key in keys]
    return frozenset(token for token in found if isinstance(token, int) and not isinstance(token, bool))


def _as_numpy(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_numpy(one) for one in value]
    return np.asarray(value) if hasattr(value, "shape") else value


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
