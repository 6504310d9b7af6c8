"""The judge is right, on pictures drawn with seeds that it was not tuned on."""

import numpy as np
import pytest

from pipelines.demo.judge import UNKNOWN, look, nearest_colour
from pipelines.demo.obedience import Wear, blurred, judge_accuracy, noisy, untouched
from pipelines.demo.scenes import COLOURS, draw, training_scene


@pytest.mark.parametrize("wear", [untouched, noisy, blurred])
def test_the_judge_names_drawn_pictures_rightly(wear: Wear) -> None:
    assert judge_accuracy(wear, count=500) >= 0.99


@pytest.mark.parametrize("size", [48, 128])
def test_the_judge_reads_other_sizes(size: int) -> None:
    for index in range(40):
        scene = training_scene(8001, index, alone_share=1)
        verdict = look(draw(scene, size))
        (thing,) = scene.things
        (seen,) = verdict.things
        assert (seen.shape, seen.colour, verdict.ground) == (
            thing.shape,
            thing.colour,
            scene.ground,
        )
        assert abs(seen.x - thing.x) < 0.03


def test_an_empty_ground_holds_nothing() -> None:
    for name, colour in COLOURS.items():
        verdict = look(np.full((64, 64, 3), colour, np.uint8))
        assert verdict.ground == name
        assert verdict.things == ()


def test_a_colour_that_is_none_of_ours_is_not_named() -> None:
    assert nearest_colour(np.array([128.0, 128.0, 128.0])) == UNKNOWN


def test_a_smear_has_no_shape() -> None:
    picture = np.full((64, 64, 3), COLOURS["white"], np.uint8)
    picture[30:33, 8:56] = COLOURS["red"]
    (seen,) = look(picture).things
    assert seen.colour == "red"
    assert seen.shape == UNKNOWN


def test_noise_is_not_named() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    verdict = look(picture)
    assert verdict.ground == UNKNOWN
    assert all(thing.shape == UNKNOWN for thing in verdict.things)
