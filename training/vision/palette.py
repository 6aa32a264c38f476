"""Names of colors and shapes, and the RGB values of each color."""

from random import Random

Rgb = tuple[int, int, int]

# The first value of each color is the pure color, which is most common in code. The others are shades of it.
SHADES: dict[str, tuple[Rgb, ...]] = {
    "red": ((255, 0, 0), (220, 30, 30), (200, 10, 20)),
    "green": ((0, 128, 0), (0, 255, 0), (30, 160, 50), (0, 180, 60)),
    "blue": ((0, 0, 255), (30, 60, 220), (20, 20, 170)),
    "yellow": ((255, 255, 0), (245, 225, 40), (255, 215, 0)),
    "orange": ((255, 165, 0), (245, 140, 20), (255, 128, 0)),
    "purple": ((128, 0, 128), (140, 40, 170), (110, 20, 150)),
    "pink": ((255, 192, 203), (245, 150, 200), (255, 105, 180)),
    "cyan": ((0, 255, 255), (0, 215, 225)),
    "brown": ((139, 69, 19), (120, 70, 35), (110, 60, 20)),
    "black": ((0, 0, 0), (18, 18, 18)),
    "white": ((255, 255, 255), (242, 242, 242)),
    "gray": ((128, 128, 128), (105, 105, 105), (155, 155, 155)),
}
COLORS = tuple(SHADES)
SHAPES = ("circle", "square", "triangle", "star", "cross", "diamond")
BACKGROUNDS = COLORS
BACKGROUND_WEIGHTS = tuple({"white": 16, "black": 6, "gray": 5}.get(color, 1) for color in BACKGROUNDS)

PURE = 0.3
JITTER = 12
LEAST_CONTRAST = 90.0


def shade(rng: Random, color: str) -> Rgb:
    """A random RGB value of a color: the pure color, or a value near one of its shades."""
    if rng.random() < PURE:
        return SHADES[color][0]
    red, green, blue = rng.choice(SHADES[color])
    return _near(rng, red), _near(rng, green), _near(rng, blue)


def contrast(one: Rgb, other: Rgb) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5


def contrasting_shade(rng: Random, color: str, background: Rgb) -> Rgb:
    """A random shade of a color that contrasts with the background. The background must have another color."""
    candidates = [shade(rng, color) for _ in range(4)]
    return next((c for c in candidates if contrast(c, background) >= LEAST_CONTRAST), candidates[0])


def _near(rng: Random, value: int) -> int:
    return max(0, min(255, value + rng.randint(-JITTER, JITTER)))
