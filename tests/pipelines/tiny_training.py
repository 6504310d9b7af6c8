"""A training in miniature, and how it is cut off."""

import pytest
import torch
from torch import Tensor, nn

from pipelines.demo import course, train_backbone, train_unet
from pipelines.demo.course import Course
from pipelines.demo.recipe import DiffusionRecipe, JanusRecipe, Schedule


def few(steps: int) -> Schedule:
    return Schedule(steps=steps, batch=4, peak_rate=1e-3, warmup=2)


SHAPES_SD = DiffusionRecipe(
    picture=32,
    scenes=16,
    vae_channels=(8, 8, 8, 8),
    vae_cutout=16,
    unet_channels=(16, 16),
    text_layers=1,
    text=few(4),
    vae=few(4),
    decoder=few(4),
    unet=few(4),
    inference_steps=2,
)

SHAPES_JANUS = JanusRecipe(
    picture=32,
    scenes=16,
    grid=4,
    vocabulary=600,
    number_of_codes=16,
    code_width=4,
    revive_every=2,
    sketch_channels=8,
    decoder_cutout=2,
    width=32,
    layers=2,
    heads=2,
    mlp=32,
    codes=few(4),
    decoder=few(4),
    backbone=few(4),
)


class Killed(BaseException):
    """Stands in for a kill: nothing in the training may catch it."""


def kill_at(step: int, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the training before `stage` takes its step number `step`."""
    descend = Course._descend

    def killed(self: Course, *arguments: object) -> float:
        if self.path.stem == stage and self.step == step:
            raise Killed
        return descend(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Course, "_descend", killed)


def save_and_measure_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "SAVE_EVERY_S", 0.0)
    for stage in (train_unet, train_backbone):
        monkeypatch.setattr(stage, "MEASURE_EVERY_STEPS", 2)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(weight, other[name]) for name, weight in one.items())
