"""The shipped model draws what it is told, through the plain diffusers pipeline."""

from itertools import pairwise

import pytest

from pipelines.demo.captions import UNSAID
from pipelines.demo.judge import Seen, Verdict
from pipelines.demo.obedience import (
    Painter,
    Prompt,
    measure,
    pair_prompts,
    score_pair,
    score_single,
    single_prompts,
)
from pipelines.demo.recipe import Recipe
from pipelines.demo.scenes import held_out
from pipelines.demo.train import SHIPPED, load, painter


@pytest.fixture(scope="module")
def paint() -> Painter:
    return painter(load(SHIPPED), Recipe())


def as_asked(prompt: Prompt) -> Verdict:
    """What the judge would say of a picture that is right in everything."""
    return Verdict(
        ground=prompt.scene.ground,
        things=tuple(
            Seen(shape=asked.shape, colour=asked.colour, x=asked.x, y=asked.y, width=asked.radius)
            for asked in prompt.scene.things
        ),
    )


def test_prompts_for_one_thing_are_held_out_and_name_all_that_is_scored() -> None:
    for prompt in single_prompts(200):
        (thing,) = prompt.scene.things
        assert held_out(thing.shape, thing.colour, prompt.scene.ground)
        assert UNSAID not in (prompt.caption.says["ground"], prompt.caption.says["first colour"])


def test_a_right_picture_scores_in_everything_and_a_wrong_one_does_not() -> None:
    for prompts, score in ((single_prompts(60), score_single), (pair_prompts(60), score_pair)):
        for prompt, other in pairwise(prompts):
            assert all(score(prompt, as_asked(prompt)).values())
            if prompt.scene.ground != other.scene.ground:
                assert not score(prompt, as_asked(other))["ground"]


def test_two_things_in_the_wrong_order_are_wrong() -> None:
    for prompt in pair_prompts(60):
        first, second = as_asked(prompt).things
        swapped = Verdict(
            ground=prompt.scene.ground,
            things=(
                Seen(shape=first.shape, colour=first.colour, x=second.x, y=second.y, width=0.2),
                Seen(shape=second.shape, colour=second.colour, x=first.x, y=first.y, width=0.2),
            ),
        )
        assert not score_pair(prompt, swapped)["all"]


@pytest.mark.slow
def test_one_thing_is_drawn_as_told(paint: Painter) -> None:
    right = measure(paint, single_prompts(200), score_single)
    print(right)
    assert right["colour"] >= 0.95
    assert right["ground"] >= 0.95
    assert right["shape"] >= 0.90


@pytest.mark.slow
def test_two_things_are_mostly_drawn_as_told(paint: Painter) -> None:
    right = measure(paint, pair_prompts(200), score_pair)
    print(right)
    assert right["ground"] >= 0.9
    assert right["colours"] >= 0.8
    assert right["all"] >= 0.65
