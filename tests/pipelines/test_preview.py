"""Previews: the outline of the picture to come, told while it is painted."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.catalog import Catalog
from pipelines.loading import load_pipeline
from pipelines.pipeline import ImageRequest
from pipelines.pixels import to_images
from pipelines.preview import fit_colours, paint_preview


def test_the_fit_finds_a_linear_decoder():
    weights = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.4, -0.3], [0.2, 0.1, 0.0], [0.1, 0.0, -0.1]])
    latents = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    colours = torch.einsum("bchw,cd->bdhw", latents, weights[:-1]) + weights[-1].view(1, 3, 1, 1)
    pixels = torch.nn.functional.interpolate(colours, scale_factor=8, mode="nearest")
    painted = paint_preview(latents[:1], fit_colours(latents, pixels))
    [expected] = to_images(colours[:1])
    expected = expected.resize(painted.size, Image.Resampling.BILINEAR)
    assert colour_difference(painted, expected) < 2


def colour_difference(one, other):
    """Mean over places of 8 by 8 pixels and colours, in levels of 255."""
    size = (other.width // 8, other.height // 8)
    places = [
        np.asarray(picture.resize(size, Image.Resampling.BOX)).astype(float)
        for picture in (one, other)
    ]
    return float(np.abs(places[0] - places[1]).mean())


def test_a_preview_is_a_square_of_colour_for_every_latent():
    latents = torch.ones(1, 1, 4, 6)
    pixels = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 32, 48)
    picture = paint_preview(latents, fit_colours(latents, pixels))
    assert picture.size == (48, 32)
    assert np.abs(np.subtract(picture.getpixel((20, 20)), (255, 128, 0))).max() <= 1


def test_previews_of_the_model_that_ships_show_the_colours_of_the_picture():
    """Half way and at the end; a guess by chance is off by 85 levels, a linear map by 32."""
    spec = Catalog.load(Path("models.yaml"))["shapes-sd"]
    pipeline = load_pipeline(spec, torch.device("cpu"))
    prompts = [
        f"a {colour} {shape} on a {ground} ground"
        for colour, shape, ground in [
            ("red", "circle", "blue"),
            ("green", "square", "white"),
            ("blue", "star", "yellow"),
            ("purple", "ring", "green"),
            ("white", "circle", "red"),
            ("black", "triangle", "orange"),
        ]
    ]
    states = [
        pipeline.encode(
            ImageRequest(
                prompt=prompt, width=64, height=64, steps=12, guidance_scale=2.0, seed=seed
            )
        )
        for seed, prompt in enumerate(prompts)
    ]
    previews = {}
    while not states[0].is_finished:
        pipeline.step(states)
        previews[states[0].step] = [pipeline.preview(state) for state in states]
    pictures = [picture.image for picture in pipeline.decode(states)]
    for step, limit in ((6, 24), (12, 22)):
        pairs = zip(previews[step], pictures, strict=True)
        assert np.mean([colour_difference(*pair) for pair in pairs]) < limit


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
