"""Draws scenes as pixels. The size is random, and so are antialiasing, noise and JPEG artifacts."""

import math
from dataclasses import dataclass
from io import BytesIO
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.vision.palette import Rgb, contrasting_shade, shade
from training.vision.scenes import Clip, Picture, Thing

Pixels = NDArray[np.uint8]
# Factors for a shape's size. With them, all shapes of the same size look about equally large.
STAR_TIP, STAR_NOTCH = 1.1, 0.46
SQUARE, BAR = 0.88, 0.36


@dataclass(frozen=True, slots=True)
class Look:
    """The style of all frames of a picture or clip.

    `scale` is the size of the drawn image divided by the size of the frame that the model sees. `stretch` changes the
    ratio of height to width, which the processor changes back. `smooth` is 2 for antialiasing, else 1. `quality` is
    that of a JPEG, or None for an image without JPEG artifacts.
    """

    scale: float = 3.125
    stretch: float = 1.0
    smooth: int = 1
    noise: float = 0.0
    quality: int | None = None


def draw_look(rng: Random, *, largest: float = 4.0) -> Look:
    scale = 1.0 if rng.random() < 0.25 else 1 + (largest - 1) * rng.random() ** 1.5
    return Look(
        scale=scale,
        stretch=1.0 if rng.random() < 0.5 else rng.uniform(0.9, 1.11),
        smooth=2 if rng.random() < 0.5 else 1,
        noise=rng.choice((0.0, 0.0, 0.0, 4.0, 9.0)),
        quality=rng.randint(45, 95) if rng.random() < 0.3 else None,
    )


def render_picture(rng: Random, picture: Picture, look: Look) -> Pixels:
    """The pixels of the image: (height, width, 3)."""
    background = shade(rng, picture.background)
    shades: dict[str, Rgb] = {}
    for thing in picture.things:
        shades.setdefault(thing.color, contrasting_shade(rng, thing.color, background))
    return _render(rng, picture.frame, background, [(thing, shades[thing.color]) for thing in picture.things], look)


def render_clip(rng: Random, clip: Clip, look: Look) -> Pixels:
    """The pixels of the clip's frames: (frames, height, width, 3)."""
    background = shade(rng, clip.background)
    shades = {stage.color: contrasting_shade(rng, stage.color, background) for stage in clip.stages}
    return np.stack(
        [_render(rng, clip.frame, background, [(thing, shades[thing.color])], look) for thing in clip.frames]
    )


def _render(
    rng: Random, frame: tuple[int, int], background: Rgb, things: list[tuple[Thing, Rgb]], look: Look
) -> Pixels:
    tall, wide = look.scale * look.stretch**0.5, look.scale / look.stretch**0.5
    height, width = round(frame[0] * tall), round(frame[1] * wide)
    fine = look.smooth
    image = Image.new("RGB", (width * fine, height * fine), background)
    canvas = ImageDraw.Draw(image)
    for thing, color in things:
        x, y = thing.x * wide * fine, thing.y * tall * fine
        draw_shape(canvas, thing.shape, color, (x, y), thing.size * min(tall, wide) * fine)
    if fine > 1:
        image = image.resize((width, height), Image.Resampling.BOX)
    if look.quality is not None:
        file = BytesIO()
        image.save(file, "JPEG", quality=look.quality)
        image = Image.open(file).convert("RGB")
    pixels = np.asarray(image)
    if look.noise:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, look.noise, pixels.shape)
        pixels = (pixels + noise).clip(0, 255).astype(np.uint8)
    return pixels


def draw_shape(canvas: ImageDraw.ImageDraw, shape: str, color: Rgb, at: tuple[float, float], size: float) -> None:
    """Draw a shape. `size` is half of its height, in pixels of the canvas."""
    x, y = at
    match shape:
        case "circle":
            canvas.ellipse((x - size, y - size, x + size, y + size), fill=color)
        case "square":
            side = size * SQUARE
            canvas.rectangle((x - side, y - side, x + side, y + side), fill=color)
        case "triangle":
            canvas.polygon([(x, y - size), (x - size, y + size * 0.85), (x + size, y + size * 0.85)], fill=color)
        case "diamond":
            canvas.polygon([(x, y - size), (x + size, y), (x, y + size), (x - size, y)], fill=color)
        case "star":
            canvas.polygon([_star_point(i, x, y, size) for i in range(10)], fill=color)
        case "cross":
            bar = size * BAR
            canvas.rectangle((x - size, y - bar, x + size, y + bar), fill=color)
            canvas.rectangle((x - bar, y - size, x + bar, y + size), fill=color)
        case _:
            raise ValueError(f"unknown shape {shape!r}")


def _star_point(i: int, x: float, y: float, size: float) -> tuple[float, float]:
    radius = size * (STAR_NOTCH if i % 2 else STAR_TIP)
    angle = i * math.pi / 5
    return x + radius * math.sin(angle), y - radius * math.cos(angle)
