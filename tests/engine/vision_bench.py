"""Tiny vision models ready to be asked: their folders, pictures and clips, prompts, and what mlx-vlm makes of them."""

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

# What a test writes for a part: a text, a picture or a clip.
Piece: TypeAlias = "str | ImagePart | VideoPart"

GREEDILY = SamplingParams(temperature=0.0)


def png(colour: str, size: tuple[int, int] = (48, 40)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def animation(colour: str, count: int = 4) -> bytes:
    """A clip of a second: a white square moves over a colour."""
    frames = [Image.new("RGB", (48, 40), colour) for _ in range(count)]
    for index, frame in enumerate(frames):
        frame.paste("white", (8 * index, 8, 8 * index + 8, 16))
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=1000 // count)
    return file.getvalue()


def picture(colour: str, size: tuple[int, int] = (48, 40), param: str = "messages[0].content[0]") -> ImagePart:
    return ImagePart(param, png(colour, size))


def clip(colour: str, param: str = "messages[0].content[0]") -> VideoPart:
    return VideoPart(param, animation(colour))


RED, BLUE, GREEN = picture("red"), picture("blue"), picture("green", (56, 24))


def said(*pieces: Piece, role: Any = "user", turn: int = 0) -> Message:
    """A message of these parts, each named after its place."""
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
    """Turns of a user and the assistant, one after the other."""
    roles = ("user", "assistant")
    messages = [said(*pieces, role=roles[index % 2], turn=index) for index, pieces in enumerate(turns)]
    return ChatPrompt(tuple(messages))


def chat(*pieces: Piece) -> ChatPrompt:
    return conversation(pieces)


@dataclass(frozen=True)
class Bench:
    """One tiny model: its catalog entry, and everything that can be made of it."""

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
        """A model of its own for backends; where its tower is, and the tower."""
        model = load_model(self.folder)
        name = next(name for name in ("vision_tower", "vision_model") if hasattr(model, name))
        return model, name, getattr(model, name)

    def vision_model(self, prefixes: PrefixCache, kind: type[VisionModel] = VisionModel) -> VisionModel:
        """The same weights each time, with a memo that knows nothing."""
        model, name, tower = self._model
        setattr(model, name, tower)
        return kind(model, prefixes.of(self.info.name))

    def backend(self, prefixes: PrefixCache | None = None, kind: type[VisionModel] = VisionModel) -> LmBackend:
        kept = prefixes or PrefixCache(0)
        return LmBackend(self.vision_model(kept, kind), self.info.name, prefixes=kept.of(self.info.name))

    @cached_property
    def _oracle(self) -> Any:
        return load_model(self.folder)

    def answer(self, tokens: Sequence[int], media: Media | None, length: int) -> list[int]:
        """What mlx-vlm generates for a prompt alone, greedily."""
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
