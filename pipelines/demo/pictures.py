"""Drawn scenes as the networks see them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pipelines.demo.recipe import Recipe
from pipelines.demo.scenes import draw, training_scene


def drawn(recipe: Recipe, indices: range) -> Tensor:
    """Scenes of the training stream as bytes, `(n, 3, size, size)`."""
    drawn = np.empty((len(indices), recipe.picture, recipe.picture, 3), np.uint8)
    for place, index in enumerate(indices):
        scene = training_scene(recipe.seed, index, alone_share=recipe.alone_share)
        drawn[place] = draw(scene, recipe.picture)
    return torch.from_numpy(drawn).permute(0, 3, 1, 2)


def as_floats(seen: Tensor) -> Tensor:
    """Pictures of bytes in -1 to 1, laid out for convolutions."""
    return (seen.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def pictures(recipe: Recipe, indices: range) -> Tensor:
    """Scenes of the training stream, `(n, 3, size, size)` in -1 to 1."""
    return as_floats(drawn(recipe, indices))


def cutout(whole: Tensor, width: int, chance: torch.Generator) -> Tensor:
    """One random square of the pictures, `(n, 3, width, width)`."""
    room = whole.shape[-1] - width + 1
    down, right = torch.randint(room, (2,), generator=chance).tolist()
    return whole[:, :, down : down + width, right : right + width]


def difference(drawn: Tensor, real: Tensor) -> Tensor:
    """Absolute error, which keeps edges sharp, and squared error, which forgives no great slip."""
    error = drawn.float() - real
    return error.abs().mean() + error.square().mean()
