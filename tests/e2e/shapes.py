"""Images and videos of plain shapes, as files that a user could send."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

SIDE = 160
FRAMES = 16


def drawn(color: str, shape: str = "circle", *, x: int = SIDE // 2, background: str = "white") -> Image.Image:
    """One shape on a plain background."""
    image = Image.new("RGB", (SIDE, SIDE), background)
    draw = ImageDraw.Draw(image)
    box = (x - 36, SIDE // 2 - 36, x + 36, SIDE // 2 + 36)
    if shape == "circle":
        draw.ellipse(box, fill=color)
    else:
        draw.rectangle(box, fill=color)
    return image


def png(image: Image.Image) -> bytes:
    image.save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def blank() -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), "white")


def circle_video(direction: str, folder: Path) -> bytes:
    """An MP4 of a red circle that moves to the left or to the right."""
    path = folder / f"{direction}.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 8, (SIDE, SIDE))
    places = np.linspace(40, SIDE - 40, FRAMES).astype(int)
    for x in places if direction == "right" else places[::-1]:
        writer.write(np.ascontiguousarray(np.array(drawn("red", x=int(x)))[..., ::-1]))
    writer.release()
    return path.read_bytes()


def data_url(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def image_part(image: Image.Image) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url("image/png", png(image))}}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
