"""The training command really trains, and a kill costs nothing but time."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipelines.demo import course, train_unet
from pipelines.demo.course import Course
from pipelines.demo.recipe import Recipe, Schedule
from pipelines.demo.train import load, save, train, train_tokenizer
from pipelines.demo.train_text import train_text
from pipelines.demo.train_vae import build_vae, encode, normalise_latents, pictures


def few(steps: int) -> Schedule:
    return Schedule(steps=steps, batch=4, peak_rate=1e-3, warmup=2)


MINIATURE = Recipe(
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


class Killed(BaseException):
    """Stands in for a kill: nothing in the training may catch it."""


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.fixture(autouse=True)
def save_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(train_unet, "MEASURE_EVERY_STEPS", 2)


def kill_at(step: int, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the training before `stage` takes its step number `step`."""
    descend = Course._descend

    def killed(self: Course, *arguments: object) -> float:
        if self.path.stem == stage and self.step == step:
            raise Killed
        return descend(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Course, "_descend", killed)


@pytest.mark.parametrize(("stage", "step"), [("vae", 0), ("vae", 3), ("decoder", 2), ("unet", 1)])
def test_a_killed_training_goes_on_to_the_same_weights(
    stage: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = train(MINIATURE, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_at(step, stage, patch)
        with pytest.raises(Killed):
            train(MINIATURE, tmp_path / "killed")
    resumed, courses = train(MINIATURE, tmp_path / "killed")
    assert [course.step for course in courses] == [4, 4, 4, 4]
    assert same(weights(whole.text_encoder), weights(resumed.text_encoder))
    if step > 0:  # A stage that had not begun draws its first weights anew.
        assert same(weights(whole.vae), weights(resumed.vae))
    if step > 0 and stage == "unet":
        assert same(weights(whole.unet), weights(resumed.unet))


def test_what_is_saved_is_what_was_trained_in_half_precision(tmp_path: Path) -> None:
    trained, courses = train(MINIATURE, tmp_path)
    before = weights(trained.unet)
    save(trained, tmp_path / "saved")
    after = weights(load(tmp_path / "saved").unet)
    assert same({name: weight.half().float() for name, weight in before.items()}, after)
    assert courses[-1].marks[0][1].keys() >= {"colour", "ground", "shape"}


def test_training_lowers_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "LOG_EVERY_STEPS", 5)
    recipe = Recipe(text_layers=1, text=Schedule(steps=60, batch=16, peak_rate=5e-3, warmup=5))
    _, learnt = train_text(recipe, train_tokenizer(recipe), tmp_path)
    assert learnt.losses[-1][1] < 0.8 * learnt.losses[0][1]


def test_normalised_latents_have_no_bias_and_decode_as_before() -> None:
    torch.manual_seed(0)
    vae = build_vae(MINIATURE).eval()
    seen = pictures(MINIATURE, range(32))
    with torch.no_grad():
        before = vae.decode(encode(vae, seen)).sample
        normalise_latents(vae, seen)
        latents = encode(vae, seen)
        after = vae.decode(latents).sample
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(8), atol=1e-4)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(8), atol=1e-3)
    assert torch.allclose(before, after, atol=1e-3)


def test_the_rate_ends_at_zero_even_when_the_end_moves() -> None:
    for steps in (100, 60):
        schedule = Schedule(steps=steps, batch=1, peak_rate=1.0, warmup=10)
        rates = [schedule.rate(step) for step in range(steps + 1)]
        assert rates[0] == pytest.approx(0.1)
        assert max(rates) == 1.0
        assert rates[-1] == 0.0
        falling = rates[int(steps * schedule.hold) + 1 :]
        assert falling == sorted(falling, reverse=True)
