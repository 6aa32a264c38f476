"""Processor: a vision model's own way from a rendered prompt and decoded media to tokens and arrays. Knows no request.

Loads from local files only, without remote code. What mlx-vlm's processors give are arrays that need no computing, so
they may be made on a preparation thread; they leave here as numpy.
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

from pico_jupyter.engine.media.video import Clip
from pico_jupyter.errors import InvalidRequest, ModelLoadFailed

# What processors raise about a prompt that does not fit its pictures.
PROCESSOR_FAILURES = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, StopIteration)

_IMAGE_KEYS = ("image_token_id", "image_token_index")
_VIDEO_KEYS = ("video_token_id", "video_token_index")


@dataclass(frozen=True, slots=True, eq=False)
class Processed:
    """A prompt's tokens with one placeholder for each feature of its media, and numpy arrays by their names."""

    tokens: list[int]
    inputs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FrameSampling:
    """How many frames of a clip a model wants: exactly `count`, or `most` at most at the asked rate."""

    count: int | None = None
    most: int | None = None


class Processor:
    """The processor of one model. `image_ids` and `video_ids` are the tokens in the places of what is seen."""

    def __init__(self, hf: Any, *, image_ids: frozenset[int], video_ids: frozenset[int]) -> None:
        self._hf = hf
        self._lock = threading.Lock()
        self.image_ids = image_ids
        self.video_ids = video_ids

    def __repr__(self) -> str:
        return f"<Processor {type(self._hf).__name__}>"

    @property
    def sampling(self) -> FrameSampling:
        """What the model says about clips."""
        component = getattr(self._hf, "video_processor", None)
        least, most = (getattr(component, name, None) for name in ("min_frames", "max_frames"))
        return FrameSampling(count=most if most and least == most else None, most=most)

    def literal(self, kind: str) -> str:
        """What stands for a picture ("image") or a clip ("video") in a text that no template has written; or ""."""
        return str(getattr(self._hf, f"{kind}_token", None) or "")

    def __call__(self, text: str, pictures: Sequence[Image], clips: Sequence[Clip]) -> Processed:
        """Tokens and arrays for a text with a mark for each picture and clip. Raises InvalidRequest."""
        media: dict[str, Any] = {"images": list(pictures)} if pictures else {}
        if clips:
            # Frames as (count, 3, height, width), which every family takes.
            media["videos"] = [np.ascontiguousarray(clip.frames.transpose(0, 3, 1, 2)) for clip in clips]
            media["fps"] = [clip.sampled_fps for clip in clips]
            media["video_metadata"] = [
                {"fps": clip.source_fps, "frames_indices": list(clip.indices), "total_num_frames": clip.source_frames}
                for clip in clips
            ]
        with self._lock:
            try:
                given = self._process(text, media)
            except PROCESSOR_FAILURES as error:
                raise InvalidRequest(f"the model's processor refuses the prompt: {error}", param="messages") from error
        tokens = [int(token) for token in np.asarray(given.pop("input_ids")).reshape(-1)]
        given.pop("attention_mask", None)
        return Processed(tokens, {name: _as_numpy(value) for name, value in given.items() if value is not None})

    def _process(self, text: str, media: Mapping[str, Any]) -> dict[str, Any]:
        try:
            given = self._hf(text=[text], add_special_tokens=False, return_tensors="np", **media)
        except TypeError as error:
            # Some give every word to their image processor, which knows none of the tokenizer's.
            if "unexpected keyword" not in str(error):
                raise
            given = self._hf(text=[text], **media)
        return dict(given)


def load_processor(path: Path) -> Processor:
    """Load the processor of a model folder. Raises ModelLoadFailed, which says what to install where that helps."""
    from mlx_vlm.utils import get_model_and_args
    from mlx_vlm.utils import load_processor as load

    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    try:
        # The family's module puts its own processors in the place of those that need PyTorch.
        get_model_and_args(config)
        hf = load(path, add_detokenizer=False, trust_remote_code=False, local_files_only=True)
    except ImportError as error:
        raise ModelLoadFailed(
            f"the processor of this model needs PyTorch: pip install torch torchvision ({_first_line(error)})"
        ) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelLoadFailed(f"the processor cannot be loaded: {_first_line(error)}") from error
    if getattr(hf, "image_processor", None) is None:
        raise ModelLoadFailed("the processor of this model takes no pictures")
    return Processor(hf, image_ids=_ids(config, hf, _IMAGE_KEYS), video_ids=_ids(config, hf, _VIDEO_KEYS))


def _ids(config: Mapping[str, Any], hf: Any, keys: Sequence[str]) -> frozenset[int]:
    found = [config.get(key) for key in keys] + [getattr(hf, key, None) for key in keys]
    return frozenset(token for token in found if isinstance(token, int) and not isinstance(token, bool))


def _as_numpy(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_numpy(one) for one in value]
    return np.asarray(value) if hasattr(value, "shape") else value


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
