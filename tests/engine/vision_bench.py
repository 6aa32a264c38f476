"""Bench: a tiny vision model with its tokenizer, processor and backend, and the answers of mlx-vlm to compare with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map
from mlx_vlm.generate import generate_step
from mlx_vlm.utils import load_model
from PIL import Image

from pico_jupyter.engine.backend import Media
from pico_jupyter.engine.backends.lm import LmBackend
from pico_jupyter.engine.backends.vision import VisionModel
from pico_jupyter.engine.media.media_processor import MediaProcessor, load_processor
from pico_jupyter.engine.memory.prefix_cache import PrefixCache
from pico_jupyter.engine.preparation.media_preparation import MediaPreparation
from pico_jupyter.engine.preparation.prompt import RenderedPrompt, render_prompt
from pico_jupyter.engine.text.tokenizer import Tokenizer, load_tokenizer
from pico_jupyter.types import (
    ChatPrompt,
    EngineOptions,
    GenerationRequest,
    ImagePart,
    Message,
    ModelInfo,
    Part,
    SamplingParams,
    TextPart,
    VideoPart,
)

# A part of a message as tests write it: a text, an image or a video.
Piece: TypeAlias = "str | ImagePart | VideoPart"

GREEDILY = SamplingParams(temperature=0.0)


def png(color: str, size: tuple[int, int] = (48, 40)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def animation(color: str, count: int = 4) -> bytes:
    """A video of one second in which a white square moves over a color."""
    frames = [Image.new("RGB", (48, 40), color) for _ in range(count)]
    for index, frame in enumerate(frames):
        frame.paste("white", (8 * index, 8, 8 * index + 8, 16))
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=1000 // count)
    return file.getvalue()


def image(color: str, size: tuple[int, int] = (48, 40), param: str = "messages[0].content[0]") -> ImagePart:
    return ImagePart(param, png(color, size))


def video(color: str, param: str = "messages[0].content[0]") -> VideoPart:
    return VideoPart(param, animation(color))


RED, BLUE, GREEN = image("red"), image("blue"), image("green", (56, 24))


def message_of(*pieces: Piece, role: Any = "user", turn: int = 0) -> Message:
    """A message of these parts. The field of each part is its position."""
    parts: list[Part] = []
    for index, piece in enumerate(pieces):
        param = f"messages[{turn}].content[{index}]"
        match piece:
            case str():
                parts.append(TextPart(piece))
            case ImagePart(data=data):
                parts.append(ImagePart(param, data))
            case VideoPart(data=data):
                parts.append(VideoPart(param, data))
    return Message(role, tuple(parts))


def conversation(*turns: Sequence[Piece]) -> ChatPrompt:
    """Alternating turns of the user and the assistant."""
    roles = ("user", "assistant")
    messages = [message_of(*pieces, role=roles[index % 2], turn=index) for index, pieces in enumerate(turns)]
    return ChatPrompt(tuple(messages))


def chat(*pieces: Piece) -> ChatPrompt:
    return conversation(pieces)


@dataclass(frozen=True)
class Bench:
    """One tiny model and everything that is made from its folder."""

    info: ModelInfo

    @cached_property
    def folder(self) -> Path:
        return Path(self.info.path)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.folder)

    @cached_property
    def processor(self) -> MediaProcessor:
        return load_processor(self.folder)

    def media_preparation(self, options: EngineOptions = EngineOptions()) -> MediaPreparation:  # noqa: B008  # frozen
        return MediaPreparation(self.processor, self.tokenizer, options)

    def rendered(
        self,
        prompt: ChatPrompt,
        options: EngineOptions = EngineOptions(),  # noqa: B008  # frozen
        max_context: int | None = None,
    ) -> RenderedPrompt:
        request = GenerationRequest(id="r", model=self.info.name, prompt=prompt, max_context=max_context)
        return render_prompt(request, self.info, self.tokenizer, self.media_preparation(options))

    @cached_property
    def _model(self) -> tuple[Any, str, Any]:
        """A model for backends, the name of the attribute with its vision tower, and the tower."""
        model = load_model(self.folder)
        name = next(name for name in ("vision_tower", "vision_model") if hasattr(model, name))
        return model, name, getattr(model, name)

    def vision_model(self, prefixes: PrefixCache, kind: type[VisionModel] = VisionModel) -> VisionModel:
        """The same weights each time, with an empty cache of image features."""
        model, name, tower = self._model
        setattr(model, name, tower)
        return kind(model, prefixes.for_model(self.info.name))

    def backend(self, prefixes: PrefixCache | None = None, kind: type[VisionModel] = VisionModel) -> LmBackend:
        kept = prefixes or PrefixCache(0)
        return LmBackend(self.vision_model(kept, kind), self.info.name, prefixes=kept.for_model(self.info.name))

    @cached_property
    def _oracle(self) -> Any:
        return load_model(self.folder)

    def answer(self, tokens: Sequence[int], media: Media | None, length: int) -> list[int]:
        """The tokens that mlx-vlm generates greedily for one prompt."""
        model = self._oracle
        for name in ("_position_ids", "_rope_deltas"):
            if hasattr(model.language_model, name):
                setattr(model.language_model, name, None)
        ids = mx.array([list(media.tokens) if media else list(tokens)])
        inputs = tree_map(
            lambda leaf: mx.array(leaf) if isinstance(leaf, np.ndarray) else leaf, dict(media.inputs) if media else {}
        )
        pixels = inputs.pop("pixel_values", None)
        steps = generate_step(ids, model, pixels, mx.ones_like(ids), max_tokens=length, temperature=0.0, **inputs)
        return [int(token) for token, _ in steps]
