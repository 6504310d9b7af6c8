"""The training of shapes-sd really trains, and a kill costs nothing but time."""

from pathlib import Path

import pytest
import torch
from tiny_training import SHAPES_SD, Killed, kill_at, same, save_and_measure_often, weights

from pipelines.demo import course
from pipelines.demo.pictures import pictures
from pipelines.demo.recipe import DiffusionRecipe, Schedule
from pipelines.demo.stable_diffusion import load, save, train, train_tokenizer
from pipelines.demo.train_text import train_text
from pipelines.demo.train_vae import build_vae, encode, normalise_latents


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    save_and_measure_often(monkeypatch)


@pytest.mark.parametrize(("stage", "step"), [("vae", 0), ("vae", 3), ("decoder", 2), ("unet", 1)])
def test_a_killed_training_goes_on_to_the_same_weights(
    stage: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = train(SHAPES_SD, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_at(step, stage, patch)
        with pytest.raises(Killed):
            train(SHAPES_SD, tmp_path / "killed")
    resumed, courses = train(SHAPES_SD, tmp_path / "killed")
    assert [course.step for course in courses] == [4, 4, 4, 4]
    assert same(weights(whole.text_encoder), weights(resumed.text_encoder))
    if step > 0:  # A stage that had not begun draws its first weights anew.
        assert same(weights(whole.vae), weights(resumed.vae))
    if step > 0 and stage == "unet":
        assert same(weights(whole.unet), weights(resumed.unet))


def test_what_is_saved_is_what_was_trained_in_half_precision(tmp_path: Path) -> None:
    trained, courses = train(SHAPES_SD, tmp_path)
    before = weights(trained.unet)
    save(trained, tmp_path / "saved")
    after = weights(load(tmp_path / "saved").unet)
    assert same({name: weight.half().float() for name, weight in before.items()}, after)
    assert courses[-1].marks[0][1].keys() >= {"colour", "ground", "shape"}


def test_training_lowers_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "LOG_EVERY_STEPS", 5)
    recipe = DiffusionRecipe(
        text_layers=1, text=Schedule(steps=60, batch=16, peak_rate=5e-3, warmup=5)
    )
    _, learnt = train_text(recipe, train_tokenizer(recipe), tmp_path)
    assert learnt.losses[-1][1] < 0.8 * learnt.losses[0][1]


def test_normalised_latents_have_no_bias_and_decode_as_before() -> None:
    torch.manual_seed(0)
    vae = build_vae(SHAPES_SD).eval()
    seen = pictures(SHAPES_SD, range(32))
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
