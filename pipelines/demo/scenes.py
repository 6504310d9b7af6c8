"""What a demo picture shows, and how it is drawn: flat shapes on a flat ground.

Every scene is a pure function of a seed, so the training pictures are never stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Layout = Literal["alone", "row", "column"]
Points = list[tuple[float, float]]

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")

#: Ten colours at least 85 apart in RGB, so that a picture can be named by its nearest colour.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 48),
    "orange": (247, 127, 20),
    "yellow": (252, 212, 44),
    "green": (46, 160, 67),
    "cyan": (40, 200, 220),
    "blue": (36, 84, 214),
    "purple": (128, 50, 160),
    "pink": (250, 150, 190),
    "white": (245, 245, 242),
    "black": (22, 22, 26),
}

#: Radius as a share of the picture's width, from the least to the most, for a thing alone.
SIZES: dict[str, tuple[float, float]] = {
    "small": (0.16, 0.19),
    "medium": (0.23, 0.27),
    "large": (0.30, 0.34),
}

#: Where a thing alone can stand: steps from the centre, right and down.
PLACES: dict[str, tuple[int, int]] = {
    "centre": (0, 0),
    "left": (-1, 0),
    "right": (1, 0),
    "top": (0, -1),
    "bottom": (0, 1),
    "top left": (-1, -1),
    "top right": (1, -1),
    "bottom left": (-1, 1),
    "bottom right": (1, 1),
}

#: Two things share a picture at this share of the size they would have alone.
PAIR_SCALE = 0.68

_MARGIN = 0.04
_PLACE_STEP = 0.26
_PAIR_STEP = 0.25
_JITTER = 0.03
_SUPERSAMPLING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One shape. `x`, `y` and `radius` are shares of the picture's width."""

    shape: str
    colour: str
    size: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A ground and one or two things on it, from left to right or from top to bottom."""

    ground: str
    things: tuple[Thing, ...]
    layout: Layout
    #: A key of PLACES for a thing alone; None for two.
    place: str | None


def held_out(shape: str, colour: str, ground: str) -> bool:
    """Whether the combination is kept from training, to measure with.

    A Latin square: every shape in every colour lacks at most one ground, so all the
    words are learnt, and a tenth of their combinations is never seen.
    """
    colours = list(COLOURS)
    return (SHAPES.index(shape) + colours.index(colour) + 3 * colours.index(ground)) % 10 == 0


def held_out_combinations() -> list[tuple[str, str, str]]:
    """All (shape, colour, ground) that training never shows."""
    return [
        (shape, colour, ground)
        for shape in SHAPES
        for colour in COLOURS
        for ground in COLOURS
        if colour != ground and held_out(shape, colour, ground)
    ]


def training_scene(seed: int, index: int, *, alone_share: float) -> Scene:
    """The scene at `index` of the endless training stream `seed`."""
    rng = np.random.default_rng((seed, index))
    while True:
        ground = str(rng.choice(list(COLOURS)))
        scene = alone(rng, ground=ground) if rng.random() < alone_share else pair(rng, ground)
        if not any(held_out(thing.shape, thing.colour, ground) for thing in scene.things):
            return scene


def alone(
    rng: np.random.Generator,
    *,
    ground: str,
    shape: str | None = None,
    colour: str | None = None,
) -> Scene:
    """One thing on a ground; half of them in the centre."""
    size = str(rng.choice(list(SIZES)))
    radius = float(rng.uniform(*SIZES[size]))
    place = "centre" if rng.random() < 0.5 else str(rng.choice(list(PLACES)[1:]))
    step = min(_PLACE_STEP, 0.5 - _MARGIN - radius)
    right, down = PLACES[place]
    thing = Thing(
        shape=shape or str(rng.choice(SHAPES)),
        colour=colour or _colour_except(rng, ground),
        size=size,
        x=_jittered(rng, 0.5 + right * step, radius),
        y=_jittered(rng, 0.5 + down * step, radius),
        radius=radius,
    )
    return Scene(ground=ground, things=(thing,), layout="alone", place=place)


def pair(rng: np.random.Generator, ground: str) -> Scene:
    """Two things side by side or one above the other, never alike in shape and colour."""
    row = bool(rng.random() < 0.5)
    while True:
        first, second = (_half_of_pair(rng, ground, row, side) for side in (-1, 1))
        if (first.shape, first.colour) != (second.shape, second.colour):
            break
    return Scene(
        ground=ground, things=(first, second), layout="row" if row else "column", place=None
    )


def draw(scene: Scene, size: int) -> NDArray[np.uint8]:
    """The scene as RGB, `(size, size, 3)`, its edges smoothed by supersampling."""
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = COLOURS[scene.ground]
    for thing in scene.things:
        share = cover(thing, size)[:, :, None]
        picture += share * (np.asarray(COLOURS[thing.colour], np.float32) - picture)
    return np.rint(picture).astype(np.uint8)


def _colour_except(rng: np.random.Generator, ground: str) -> str:
    return str(rng.choice([colour for colour in COLOURS if colour != ground]))


def _jittered(rng: np.random.Generator, at: float, radius: float) -> float:
    """A little off `at`, but with the whole thing still inside the picture."""
    edge = _MARGIN / 2 + radius
    return float(np.clip(at + rng.uniform(-_JITTER, _JITTER), edge, 1 - edge))


def _half_of_pair(rng: np.random.Generator, ground: str, row: bool, side: int) -> Thing:
    size = str(rng.choice(list(SIZES), p=(0.25, 0.5, 0.25)))
    radius = float(rng.uniform(*SIZES[size])) * PAIR_SCALE
    # No jitter along the axis they share, or two large things would touch.
    along, across = 0.5 + side * _PAIR_STEP, _jittered(rng, 0.5, radius)
    return Thing(
        shape=str(rng.choice(SHAPES)),
        colour=_colour_except(rng, ground),
        size=size,
        x=along if row else across,
        y=across if row else along,
        radius=radius,
    )


def cover(thing: Thing, size: int) -> NDArray[np.float32]:
    """How much of each pixel the thing covers, 0 to 1, `(size, size)`."""
    scale = size * _SUPERSAMPLING
    mask = Image.new("L", (scale, scale), 0)
    pen = ImageDraw.Draw(mask)
    x, y, radius = thing.x * scale, thing.y * scale, thing.radius * scale
    if thing.shape in ("circle", "ring"):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        if thing.shape == "ring":
            hole = radius * 0.55
            pen.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)
    else:
        pen.polygon([(x + px * radius, y + py * radius) for px, py in OUTLINES[thing.shape]], 255)
    small = mask.resize((size, size), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255)


def _star() -> Points:
    return [
        (length * math.sin(turn), -length * math.cos(turn))
        for turn, length in ((i * math.pi / 5, 0.42 if i % 2 else 1.05) for i in range(10))
    ]


def _cross() -> Points:
    arm = 0.32
    quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm)]
    points: Points = []
    for _ in range(4):
        points += quarter
        quarter = [(-y, x) for x, y in quarter]
    return points


#: Corners of the straight-edged shapes around (0, 0), in radii.
OUTLINES: dict[str, Points] = {
    "square": [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)],
    "triangle": [(0.0, -0.95), (1.0, 0.8), (-1.0, 0.8)],
    "star": _star(),
    "cross": _cross(),
}
