"""Describes the content of an image or a video, and generates random scenes.

Places and sizes are in pixels of the frame that the model sees, which is 48 to 80 pixels wide and high.
"""

from dataclasses import dataclass, replace
from random import Random

from training.vision.held_out import is_held_out
from training.vision.palette import BACKGROUND_WEIGHTS, BACKGROUNDS, COLORS, SHAPES

FRAMES = 8
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape at (x, y) whose half height is `size`."""

    color: str
    shape: str
    x: float
    y: float
    size: float

    def name(self) -> str:
        return f"{self.color} {self.shape}"

    def is_like(self, other: "Thing") -> bool:
        return (self.color, self.shape) == (other.color, other.shape)


@dataclass(frozen=True, slots=True)
class Picture:
    """A still picture. `frame` is (height, width). `things` are in order from left to right."""

    frame: Size
    background: str
    things: tuple[Thing, ...]

    def is_uniform(self) -> bool:
        return all(thing.is_like(self.things[0]) for thing in self.things)


@dataclass(frozen=True, slots=True)
class Clip:
    """Eight frames, each of which shows one thing. `stages` are the different things in order.

    `motion` is one of DIRECTIONS, or "still". `steady` means that all stages are at the same place.
    """

    frame: Size
    background: str
    frames: tuple[Thing, ...]
    stages: tuple[Thing, ...]
    motion: str = "still"
    steady: bool = True

    def reversed(self) -> "Clip":
        opposite = {"left": "right", "right": "left", "up": "down", "down": "up", "still": "still"}
        return replace(self, frames=self.frames[::-1], stages=self.stages[::-1], motion=opposite[self.motion])


def draw_picture(rng: Random, frame: Size, *, count: int | None = None, held_out: bool = False) -> Picture:
    """A random picture of up to five things, rarely of none. The things look either all the same or all different."""
    background = draw_background(rng)
    if count is None:
        count = rng.choices(range(6), (3, 36, 20, 15, 13, 13))[0]
    uniform = rng.random() < 0.3
    places = draw_places(rng, frame, count)
    kinds = _draw_kinds(rng, background, 1 if uniform else len(places), held_out=held_out)
    kinds *= len(places) if uniform else 1
    things = [Thing(*kind, *place) for kind, place in zip(kinds, places, strict=True)]
    return Picture(frame, background, tuple(sorted(things, key=lambda thing: thing.x)))


def draw_background(rng: Random) -> str:
    return rng.choices(BACKGROUNDS, BACKGROUND_WEIGHTS)[0]


def allowed_kinds(background: str, *, held_out: bool) -> list[tuple[str, str]]:
    """The pairs (color, shape) for things on a background: those of the evaluation if `held_out`, else the others."""
    pairs = [(color, shape) for color in COLORS if color != background for shape in SHAPES]
    return [pair for pair in pairs if is_held_out(*pair, background) == held_out]


def _draw_kinds(rng: Random, background: str, count: int, *, held_out: bool) -> list[tuple[str, str]]:
    return rng.sample(allowed_kinds(background, held_out=held_out), count)


def draw_places(rng: Random, frame: Size, count: int) -> list[tuple[float, float, float]]:
    """Random (x, y, size) of things that do not overlap. Returns fewer than `count` if no more fit."""
    height, width = frame
    base = min(frame)
    low, high = ((0.13, 0.42), (0.13, 0.42), (0.12, 0.22), (0.12, 0.19), (0.11, 0.16), (0.11, 0.15))[count]
    places: list[tuple[float, float, float]] = []
    for _ in range(200):
        if len(places) == count:
            break
        size = max(6.0, rng.uniform(low, high) * base)
        x = rng.uniform(size + 1, width - size - 1)
        y = rng.uniform(size + 1, height - size - 1)
        apart = (((x - a) ** 2 + (y - b) ** 2) ** 0.5 / (size + other) for a, b, other in places)
        if all(distance > 1.25 for distance in apart):
            places.append((x, y, size))
    return places


def draw_clip(rng: Random, frame: Size, *, kind: str | None = None, held_out: bool = False) -> Clip:
    """A random clip. `kind` says what changes: "motion", "colors", "shapes", or "both" (colors and shapes)."""
    if kind is None:
        kind = rng.choices(("motion", "colors", "shapes", "both"), (37, 23, 20, 20))[0]
    background = draw_background(rng)
    if kind == "motion":
        return _draw_motion(rng, frame, background, held_out=held_out)
    return _draw_stages(rng, frame, background, kind, held_out=held_out)


def _draw_motion(rng: Random, frame: Size, background: str, *, held_out: bool) -> Clip:
    """One thing that does not move, or that moves straight along at least half of its possible way."""
    height, width = frame
    ((color, shape),) = _draw_kinds(rng, background, 1, held_out=held_out)
    size = max(5.5, rng.uniform(0.12, 0.28) * min(frame))
    motion = rng.choice((*DIRECTIONS, "still") if rng.random() < 0.8 else tuple(DIRECTIONS))
    x, y = rng.uniform(size, width - size), rng.uniform(size, height - size)
    if motion == "still":
        thing = Thing(color, shape, x, y, size)
        return Clip(frame, background, (thing,) * FRAMES, (thing,))
    horizontal = motion in ("left", "right")
    room = (width if horizontal else height) - 2 * size
    way = rng.uniform(0.5, 1.0) * room
    start = size + rng.uniform(0, room - way)
    steps = [start + way * i / (FRAMES - 1) for i in range(FRAMES)]
    if motion in ("left", "up"):
        steps.reverse()
    frames = tuple(Thing(color, shape, *((at, y) if horizontal else (x, at)), size) for at in steps)
    return Clip(frame, background, frames, (frames[0],), motion)


def _draw_stages(rng: Random, frame: Size, background: str, kind: str, *, held_out: bool) -> Clip:
    """Two to four things, one after another. Each is visible for at least two frames."""
    count = rng.choices((2, 3, 4), (55, 38, 7))[0]
    kinds = _draw_sequence(rng, background, kind, count, held_out=held_out)
    steady = rng.random() < 0.6
    size = max(7.0, rng.uniform(0.16, 0.42) * min(frame))
    height, width = frame
    x, y = rng.uniform(size, width - size), rng.uniform(size, height - size)
    stages = []
    for color, shape in kinds:
        if not steady:
            x, y = rng.uniform(size, width - size), rng.uniform(size, height - size)
        stages.append(Thing(color, shape, x, y, size))
    frames = [
        stage for stage, length in zip(stages, _draw_lengths(rng, len(kinds)), strict=True) for _ in range(length)
    ]
    return Clip(frame, background, tuple(frames), tuple(stages), steady=steady)


def _draw_lengths(rng: Random, count: int) -> list[int]:
    lengths = [2] * count
    for _ in range(FRAMES - 2 * count):
        lengths[rng.randrange(count)] += 1
    return lengths


def _draw_sequence(rng: Random, background: str, kind: str, count: int, *, held_out: bool) -> list[tuple[str, str]]:
    """The (color, shape) of each stage. Returns fewer than `count`, but at least two, if too few pairs are allowed."""
    pairs = allowed_kinds(background, held_out=held_out)
    color, shape = rng.choice(pairs)
    match kind:
        case "colors":
            pairs = [pair for pair in pairs if pair[1] == shape]
        case "shapes":
            pairs = [pair for pair in pairs if pair[0] == color]
        case _:
            rng.shuffle(pairs)
            pairs = list({color: (color, shape) for color, shape in pairs}.values())
            pairs = list({shape: (color, shape) for color, shape in pairs}.values())
    if len(pairs) < 2:
        return _draw_sequence(rng, background, kind, count, held_out=held_out)
    return rng.sample(pairs, min(count, len(pairs)))
