"""Captions as training takes them: worded anew at each draw, with what they say as numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from pipelines.demo.captions import ATTRIBUTES, Caption, caption, distracted
from pipelines.demo.recipe import Recipe
from pipelines.demo.scenes import training_scene

_TOKENIZER_CAPTIONS = 5000


def worded(
    recipe: Recipe, indices: Iterable[int], rng: np.random.Generator
) -> tuple[list[Caption], list[str]]:
    """A caption of each scene of the training stream, and its text, now and then distracted."""
    captions = [
        caption(training_scene(recipe.seed, index, alone_share=recipe.alone_share), rng)
        for index in indices
    ]
    texts = [
        distracted(said.text, rng) if rng.random() < recipe.distracted_share else said.text
        for said in captions
    ]
    return captions, texts


def answers(captions: Iterable[Caption]) -> Tensor:
    """The number of the name that each caption gives each attribute, `(batch, attributes)`."""
    return torch.tensor(
        [
            [names.index(said.says[attribute]) for attribute, names in ATTRIBUTES.items()]
            for said in captions
        ]
    )


def vocabulary_captions(recipe: Recipe) -> Iterable[str]:
    """The captions that a tokenizer learns its words from."""
    rng = np.random.default_rng((recipe.seed, 3))
    for index in range(_TOKENIZER_CAPTIONS):
        scene = training_scene(recipe.seed, index, alone_share=recipe.alone_share)
        yield caption(scene, rng).text
