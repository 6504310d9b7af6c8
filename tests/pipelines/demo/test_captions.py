"""A caption says what the scene holds, and nothing that it does not."""

import re

import numpy as np
import pytest

from pipelines.demo.captions import (
    ATTRIBUTES,
    SHAPE_WORDS,
    SIZE_WORDS,
    UNSAID,
    Caption,
    caption,
    distracted,
)
from pipelines.demo.scenes import COLOURS, Scene, training_scene


@pytest.fixture(scope="module")
def worded() -> list[tuple[Scene, Caption]]:
    rng = np.random.default_rng(11)
    scenes = [training_scene(6, index, alone_share=0.7) for index in range(2000)]
    return [(scene, caption(scene, rng)) for scene in scenes]


def words(said: Caption) -> list[str]:
    return re.findall(r"[a-z]+(?:-[a-z]+)*", said.text.lower())


def test_a_caption_names_every_thing_and_its_colour(
    worded: list[tuple[Scene, Caption]],
) -> None:
    for scene, said in worded:
        for thing in scene.things:
            assert any(word in said.text.lower() for word in SHAPE_WORDS[thing.shape])
            assert thing.colour in words(said)


def test_a_caption_names_no_colour_that_is_not_there(
    worded: list[tuple[Scene, Caption]],
) -> None:
    for scene, said in worded:
        there = [thing.colour for thing in scene.things]
        if said.says["ground"] != UNSAID:
            there.append(scene.ground)
        assert sorted(word for word in words(said) if word in COLOURS) == sorted(there)


def test_what_a_caption_claims_to_say_is_true_of_the_scene(
    worded: list[tuple[Scene, Caption]],
) -> None:
    for scene, said in worded:
        assert said.says.keys() == ATTRIBUTES.keys()
        assert said.says["layout"] == scene.layout
        assert said.says["ground"] in (UNSAID, scene.ground)
        assert said.says["place"] in (UNSAID, scene.place)
        for which, thing in zip(("first", "second"), scene.things, strict=False):
            assert said.says[f"{which} shape"] == thing.shape
            assert said.says[f"{which} colour"] == thing.colour
            assert said.says[f"{which} size"] in (UNSAID, thing.size)
        if scene.layout == "alone":
            assert said.says["second shape"] == UNSAID


def test_what_is_left_unsaid_is_the_usual(worded: list[tuple[Scene, Caption]]) -> None:
    for scene, said in worded:
        if scene.layout == "alone" and said.says["place"] == UNSAID:
            assert scene.place == "centre"
        for which, thing in zip(("first", "second"), scene.things, strict=False):
            if said.says[f"{which} size"] == UNSAID:
                assert thing.size in ("medium", "large")


def test_a_size_is_said_in_its_own_words(worded: list[tuple[Scene, Caption]]) -> None:
    for scene, said in worded:
        if scene.layout == "alone" and said.says["first size"] != UNSAID:
            mine = SIZE_WORDS[said.says["first size"]]
            others = {word for size in SIZE_WORDS.values() for word in size} - set(mine)
            assert any(word in words(said) for word in mine)
            assert not others & set(words(said))


def test_the_order_of_two_things_can_be_read_from_the_words(
    worded: list[tuple[Scene, Caption]],
) -> None:
    for scene, said in worded:
        text = said.text.lower()
        colours = [thing.colour for thing in scene.things]
        if scene.layout != "row" or " on the left and " in text:
            continue
        things = text[: text.rindex(scene.ground)] if text.endswith(scene.ground) else text
        left_of = re.search(r"left of", things)
        right_of = re.search(r"right of", things)
        between = left_of or right_of
        assert between is not None
        before = [
            word for word in re.findall(r"[a-z]+", text[: between.start()]) if word in COLOURS
        ]
        assert before[-1] == (colours[0] if left_of else colours[1])


def test_captions_vary() -> None:
    scene = training_scene(6, 0, alone_share=1)
    rng = np.random.default_rng(0)
    assert len({caption(scene, rng).text for _ in range(100)}) > 60


def test_a_distraction_keeps_every_word() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert "a red circle" in distracted("a red circle", rng)
        assert distracted("a red circle", rng) != "a red circle"
