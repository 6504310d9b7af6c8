"""Does a model draw what it is told? Prompts, scores, and the share of each that is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.demo.captions import UNSAID, Caption, caption
from pipelines.demo.judge import Seen, Verdict, look
from pipelines.demo.scenes import (
    COLOURS,
    PLACES,
    Scene,
    alone,
    draw,
    held_out_combinations,
    pair,
    training_scene,
)

#: Draws one picture, `(size, size, 3)`, for each text, from the seed beside it.
Painter = Callable[[Sequence[str], Sequence[int]], list[NDArray[np.uint8]]]
#: Does something to a picture, with chance of its own.
Wear = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]

#: Nearer to the middle than this share of the width is "in the centre".
_CENTRE = 0.05


@dataclass(frozen=True, slots=True)
class Prompt:
    """A caption, the scene it describes, and the seed to draw it from."""

    caption: Caption
    scene: Scene
    seed: int


def single_prompts(count: int, *, seed: int = 2026) -> list[Prompt]:
    """Prompts for one thing in combinations that training never shows, each about as often."""
    rng = np.random.default_rng(seed)
    combinations = held_out_combinations()
    prompts: list[Prompt] = []
    while len(prompts) < count:
        for number in rng.permutation(len(combinations)):
            shape, colour, ground = combinations[number]
            scene = alone(rng, ground=ground, shape=shape, colour=colour)
            said = caption(scene, rng, ground_share=1)
            prompts.append(Prompt(said, scene, seed + len(prompts)))
    return prompts[:count]


def pair_prompts(count: int, *, seed: int = 2027) -> list[Prompt]:
    """Prompts for two things, drawn from all combinations, held out or not."""
    rng = np.random.default_rng(seed)
    scenes = [pair(rng, str(rng.choice(list(COLOURS)))) for _ in range(count)]
    return [
        Prompt(caption(scene, rng, ground_share=1), scene, seed + number)
        for number, scene in enumerate(scenes)
    ]


def score_single(prompt: Prompt, verdict: Verdict) -> dict[str, bool]:
    """What is right about a picture of one thing. A second thing makes the shape wrong."""
    (asked,) = prompt.scene.things
    ground = verdict.ground == prompt.scene.ground
    if not verdict.things:
        return {"colour": False, "ground": ground, "shape": False, "place": False}
    seen = verdict.things[0]
    return {
        "colour": seen.colour == asked.colour,
        "ground": ground,
        "shape": seen.shape == asked.shape and len(verdict.things) == 1,
        "place": _place_of(seen) == (_said_place(prompt)),
    }


def score_pair(prompt: Prompt, verdict: Verdict) -> dict[str, bool]:
    """What is right about a picture of two things: each must stand where it was told to."""
    ground = verdict.ground == prompt.scene.ground
    if len(verdict.things) != 2:
        return {"both": False, "ground": ground, "colours": False, "shapes": False, "all": False}
    in_row = prompt.scene.layout == "row"
    seen = sorted(verdict.things, key=lambda thing: thing.x if in_row else thing.y)
    together = list(zip(prompt.scene.things, seen, strict=True))
    colours = all(asked.colour == thing.colour for asked, thing in together)
    shapes = all(asked.shape == thing.shape for asked, thing in together)
    return {
        "both": True,
        "ground": ground,
        "colours": colours,
        "shapes": shapes,
        "all": ground and colours and shapes,
    }


def measure(
    paint: Painter,
    prompts: Sequence[Prompt],
    score: Callable[[Prompt, Verdict], dict[str, bool]],
) -> dict[str, float]:
    """The share of prompts of which each thing scored is right, 0 to 1."""
    pictures = paint([prompt.caption.text for prompt in prompts], [p.seed for p in prompts])
    scores = [score(p, look(picture)) for p, picture in zip(prompts, pictures, strict=True)]
    return {name: sum(one[name] for one in scores) / len(scores) for name in scores[0]}


def measure_on_the_way(paint: Painter, count: int = 48) -> dict[str, float]:
    """A quick measure for the time of training: `count` prompts for one thing, half as many for
    two."""
    pairs = measure(paint, pair_prompts(count // 2), score_pair)
    return measure(paint, single_prompts(count), score_single) | {
        f"two {name}": right for name, right in pairs.items()
    }


def judge_accuracy(wear: Wear, *, count: int = 400, seed: int = 7001) -> float:
    """The share of drawn pictures of which the judge names everything rightly, 0 to 1.

    `wear` is done to each picture first. The judge's thresholds were chosen on other seeds.
    """
    right = 0
    for number in range(count):
        scene = training_scene(seed, number, alone_share=0.7)
        verdict = look(wear(draw(scene, 64), np.random.default_rng((seed, number))))
        right += _named_rightly(scene, verdict)
    return right / count


def untouched(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture as drawn."""
    return picture


def noisy(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Noise of deviation 8 of 255 on every value."""
    worn = picture + rng.normal(0, 8, picture.shape)
    return np.clip(worn, 0, 255).astype(np.uint8)


def blurred(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur of 0.7 pixels and a little noise: softer than any decoder's edge."""
    soft = ndimage.gaussian_filter(picture.astype(np.float64), (0.7, 0.7, 0))
    return np.clip(soft + rng.normal(0, 5, soft.shape), 0, 255).astype(np.uint8)


def _named_rightly(scene: Scene, verdict: Verdict) -> bool:
    across = scene.layout != "column"
    seen = sorted(verdict.things, key=lambda thing: thing.x if across else thing.y)
    return verdict.ground == scene.ground and [
        (thing.shape, thing.colour) for thing in scene.things
    ] == [(thing.shape, thing.colour) for thing in seen]


def _said_place(prompt: Prompt) -> str:
    said = prompt.caption.says["place"]
    return "centre" if said == UNSAID else said


def _place_of(seen: Seen) -> str:
    steps = tuple(
        0 if abs(at - 0.5) < _CENTRE else (1 if at > 0.5 else -1) for at in (seen.x, seen.y)
    )
    return next(place for place, known in PLACES.items() if known == steps)
