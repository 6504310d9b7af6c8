"""A scene in words, as many people would put it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np

from pipelines.demo.scenes import COLOURS, PLACES, SHAPES, SIZES, Scene, Thing

#: The name of an attribute that a caption leaves open or a scene does not have.
UNSAID = "unsaid"

#: What a caption can say of a scene, and the words' meanings. `first` is the thing on the left
#: or on top (or the only one); `second` the other.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "ground": (UNSAID, *COLOURS),
    "layout": ("alone", "row", "column"),
    "place": (UNSAID, *PLACES),
    "first shape": (UNSAID, *SHAPES),
    "first colour": (UNSAID, *COLOURS),
    "first size": (UNSAID, *SIZES),
    "second shape": (UNSAID, *SHAPES),
    "second colour": (UNSAID, *COLOURS),
    "second size": (UNSAID, *SIZES),
}

SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "circle", "circle", "disc", "dot"),
    "square": ("square",),
    "triangle": ("triangle",),
    "star": ("star", "star", "star", "five-pointed star"),
    "ring": ("ring", "ring", "ring", "hoop"),
    "cross": ("cross", "cross", "cross", "plus sign"),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "small", "little", "tiny"),
    "medium": ("medium", "medium-sized", "mid-sized"),
    "large": ("large", "large", "big", "huge"),
}
_PLACE_PHRASES: dict[str, tuple[str, ...]] = {
    "centre": ("in the centre", "in the center", "in the middle", "at the centre"),
    "left": ("on the left", "at the left", "on the left side"),
    "right": ("on the right", "at the right", "on the right side"),
    "top": ("at the top", "near the top"),
    "bottom": ("at the bottom", "near the bottom"),
}
_CORNER_PHRASES = ("in the {} corner", "at the {}", "in the {}")
_RELATIONS: dict[tuple[str, bool], tuple[str, ...]] = {
    ("row", True): ("left of", "to the left of", "on the left of"),
    ("row", False): ("right of", "to the right of", "on the right of"),
    ("column", True): ("above", "over", "on top of"),
    ("column", False): ("below", "under", "beneath", "underneath"),
}
_GROUND_AFTER = (
    "on {a} background",
    "on {a} background",
    "on {a} ground",
    "against {a} background",
    "with {a} background",
    "in front of {a} background",
    "on {colour}",
    ", {colour} background",
    ", the background is {colour}",
    "where the ground is {colour}",
)
_GROUND_BEFORE = (
    "on {a} background, {things}",
    "on {a} ground, {things}",
    "{a} background with {things}",
    "{a} ground and {things}",
    "{colour} background, {things}",
)
_OPENERS = (
    "a picture of",
    "an image of",
    "a drawing of",
    "a photo of",
    "an illustration of",
    "a simple painting of",
    "draw",
    "please draw",
    "show me",
    "there is",
    "paint",
    "i want",
)
_ENDINGS = (
    ".",
    "!",
    ", flat colours",
    ", minimal",
    ", simple shapes",
    ", vector art",
    ", high quality",
    ", please",
    ", clean design",
    ", poster",
)


@dataclass(frozen=True, slots=True)
class Caption:
    """Words, and for every key of ATTRIBUTES what they say of it."""

    text: str
    says: Mapping[str, str]


def caption(scene: Scene, rng: np.random.Generator, *, ground_share: float = 0.92) -> Caption:
    """The scene in words drawn by `rng`; with `ground_share` < 1 some do not name the ground.

    A small thing and a place off the centre are always named, so that what a prompt leaves
    open is drawn medium to large and in the middle.
    """
    says = dict.fromkeys(ATTRIBUTES, UNSAID) | {"layout": scene.layout}
    if scene.layout == "alone":
        things = _alone_in_words(scene, rng, says)
    else:
        things = _pair_in_words(scene, rng, says)
    text = things
    if rng.random() < ground_share:
        says["ground"] = scene.ground
        text = _with_ground(things, scene.ground, rng)
    return Caption(_dressed(text, rng), says)


def distracted(text: str, rng: np.random.Generator) -> str:
    """The caption with a made-up word, so that strange words are learnt to mean nothing."""
    word = "".join(rng.choice(list(ascii_lowercase), rng.integers(2, 9)))
    return f"{text}, {word}" if rng.random() < 0.5 else f"{word} {text}"


def _alone_in_words(scene: Scene, rng: np.random.Generator, says: dict[str, str]) -> str:
    (thing,) = scene.things
    name_size = thing.size == "small" or rng.random() < 0.4
    name_place = scene.place != "centre" or rng.random() < 0.3
    words = _thing_in_words(thing, "first", name_size, rng, says)
    if name_place and scene.place is not None:
        says["place"] = scene.place
        words = f"{words} {_place_in_words(scene.place, rng)}"
    return words


def _pair_in_words(scene: Scene, rng: np.random.Generator, says: dict[str, str]) -> str:
    first, second = (
        _thing_in_words(thing, which, thing.size == "small" or rng.random() < 0.4, rng, says)
        for thing, which in zip(scene.things, ("first", "second"), strict=True)
    )
    if rng.random() < 0.2:
        ends = ("on the left", "on the right") if scene.layout == "row" else ("on top", "below")
        return f"{first} {ends[0]} and {second} {ends[1]}"
    in_order = bool(rng.random() < 0.6)
    relation = _pick(rng, _RELATIONS[scene.layout, in_order])
    return f"{first} {relation} {second}" if in_order else f"{second} {relation} {first}"


def _thing_in_words(
    thing: Thing, which: str, name_size: bool, rng: np.random.Generator, says: dict[str, str]
) -> str:
    says[f"{which} shape"], says[f"{which} colour"] = thing.shape, thing.colour
    shape = _pick(rng, SHAPE_WORDS[thing.shape])
    size = ""
    if name_size:
        says[f"{which} size"] = thing.size
        size = _pick(rng, SIZE_WORDS[thing.size]) + " "
    style = rng.random()
    if style < 0.05:
        return with_article(f"{size}{shape} that is {thing.colour}")
    if style < 0.12:
        return f"{size}{thing.colour} {shape}"
    if style < 0.15:
        return f"one {size}{thing.colour} {shape}"
    return with_article(f"{size}{thing.colour} {shape}")


def _place_in_words(place: str, rng: np.random.Generator) -> str:
    if place in _PLACE_PHRASES:
        return _pick(rng, _PLACE_PHRASES[place])
    vertical, horizontal = place.split()
    if rng.random() < 0.3:
        vertical = {"top": "upper", "bottom": "lower"}[vertical]
    return _pick(rng, _CORNER_PHRASES).format(f"{vertical} {horizontal}")


def _with_ground(things: str, ground: str, rng: np.random.Generator) -> str:
    words = {"a": with_article(ground), "colour": ground, "things": things}
    if rng.random() < 0.25:
        return _pick(rng, _GROUND_BEFORE).format(**words)
    after = _pick(rng, _GROUND_AFTER).format(**words)
    return f"{things}{after}" if after.startswith(",") else f"{things} {after}"


def _dressed(text: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.25:
        text = f"{_pick(rng, _OPENERS)} {text}"
    if rng.random() < 0.25:
        text += _pick(rng, _ENDINGS)
    style = rng.random()
    if style < 0.05:
        return text.upper()
    return text.capitalize() if style < 0.25 else text


def with_article(noun: str) -> str:
    """`a` or `an` before the noun."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
