"""Previews: the outline of the picture to come, told while it is painted."""

from io import BytesIO

import pytest
import torch
from PIL import Image

from pipelines.preview import fit_colours, paint_preview, sample_latents


def test_the_fit_finds_a_linear_decoder():
    """A decoder that is linear in its latents is found again, weights and all."""
    weights = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.4, -0.3], [0.2, 0.1, 0.0], [0.1, 0.0, -0.1]])
    latents = sample_latents(3)
    colours = torch.einsum("bchw,cd->bdhw", latents, weights[:3]) + weights[3].view(1, 3, 1, 1)
    pixels = torch.nn.functional.interpolate(colours, scale_factor=8, mode="nearest")
    assert torch.allclose(fit_colours(latents, pixels), weights, atol=0.01)


def test_a_preview_shows_the_colours_that_the_map_says():
    colours = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    latents = torch.ones(1, 1, 4, 6)
    picture = paint_preview(latents, colours)
    assert picture.size == (48, 32)
    assert picture.getpixel((20, 20)) == (255, 128, 0)


@pytest.mark.parametrize(
    ("model", "scheduler"),
    [
        *(("sd", name) for name in ["Euler", "Euler a", "DDIM", "DPM++ 2M", "UniPC", "LCM"]),
        ("sd-zero-snr", None),
        ("sdxl", None),
        ("sd3", None),
        ("sd3", "DPM++ 2M"),
        ("flux", None),
    ],
)
def test_the_outline_becomes_the_picture(model, scheduler, pipeline_of, make_request):
    """After the last step what is foreseen is what is there, whatever the scheduler calls it."""
    pipeline = pipeline_of(model)
    state = pipeline.encode(make_request(scheduler=scheduler, steps=6))
    assert pipeline.preview(state) is None
    distances = []
    while not state.is_finished:
        pipeline.step([state])
        distances.append(state.schedule.outline)
    distances = [float((outline - state.latents).norm()) for outline in distances]
    assert distances[-1] < 0.1 * distances[0]
    assert pipeline.preview(state).size == (64, 64)


def test_a_preview_comes_as_a_small_webp_every_few_steps(engine, spec_of, make_request):
    told = []
    request = make_request(steps=9, scheduler="Euler")
    engine.submit(spec_of("sd"), request, on_progress=told.append).future.result(30)
    previews = [progress.preview for progress in told if progress.preview]
    assert previews
    for preview in previews:
        picture = Image.open(BytesIO(preview))
        assert (picture.format, picture.size) == ("WEBP", (64, 64))
