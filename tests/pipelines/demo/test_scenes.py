"""What a training scene may and may not hold, and how it is drawn."""

import itertools

import numpy as np
import pytest

from pipelines.demo.scenes import (
    COLOURS,
    SHAPES,
    Scene,
    draw,
    held_out,
    held_out_combinations,
    training_scene,
)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [training_scene(5, index, alone_share=0.7) for index in range(3000)]


def test_training_never_shows_a_held_out_combination(scenes: list[Scene]) -> None:
    shown = {
        (thing.shape, thing.colour, scene.ground) for scene in scenes for thing in scene.things
    }
    assert not shown & set(held_out_combinations())


def test_training_shows_every_other_combination(scenes: list[Scene]) -> None:
    shown = {
        (thing.shape, thing.colour, scene.ground) for scene in scenes for thing in scene.things
    }
    everything = {
        (shape, colour, ground)
        for shape, colour, ground in itertools.product(SHAPES, COLOURS, COLOURS)
        if colour != ground and not held_out(shape, colour, ground)
    }
    assert len(everything - shown) < len(everything) / 50


def test_about_a_tenth_of_the_combinations_is_held_out_and_no_shape_is_spared() -> None:
    combinations = held_out_combinations()
    assert 0.08 < len(combinations) / (len(SHAPES) * len(COLOURS) * (len(COLOURS) - 1)) < 0.12
    assert {shape for shape, _, _ in combinations} == set(SHAPES)
    # Were more than one ground missing, a colour might never be learnt with a shape.
    assert len({(shape, colour) for shape, colour, _ in combinations}) == len(combinations)


def test_a_thing_never_has_the_colour_of_its_ground(scenes: list[Scene]) -> None:
    assert all(thing.colour != scene.ground for scene in scenes for thing in scene.things)


def test_things_stay_inside_the_picture_and_apart(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.things:
            assert thing.radius < thing.x < 1 - thing.radius
            assert thing.radius < thing.y < 1 - thing.radius
        if len(scene.things) == 2:
            first, second = scene.things
            apart = np.hypot(first.x - second.x, first.y - second.y)
            assert apart > first.radius + second.radius


def test_two_things_stand_in_the_order_they_are_listed(scenes: list[Scene]) -> None:
    for scene in scenes:
        if scene.layout == "row":
            assert scene.things[0].x < scene.things[1].x
        if scene.layout == "column":
            assert scene.things[0].y < scene.things[1].y


def test_the_same_seed_draws_the_same_picture() -> None:
    for index in range(20):
        first, again = (draw(training_scene(1, index, alone_share=0.7), 64) for _ in range(2))
        assert np.array_equal(first, again)
    one, other = (draw(training_scene(seed, 0, alone_share=0.7), 64) for seed in (1, 2))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_a_picture_holds_its_colours_at_any_size(size: int) -> None:
    scene = training_scene(3, 0, alone_share=1)
    picture = draw(scene, size)
    (thing,) = scene.things
    colours = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    assert picture.shape == (size, size, 3)
    assert {COLOURS[scene.ground], COLOURS[thing.colour]} <= colours
