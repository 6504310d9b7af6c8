"""What only a GPU can show."""

import numpy as np
import pytest
import torch
from plain_janus import PlainJanus

from pipelines.engine import Engine
from pipelines.loading import load_pipeline
from pipelines.pipeline import ImageRequest
from pipelines.tuning import Tuning

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
GPU = torch.device("cuda")


@pytest.fixture
def paint(spec_of):
    """Pictures of requests through an engine on the GPU, each alone or all together."""

    def paint(model, requests, *, together, reproducible):
        pipeline = load_pipeline(spec_of(model), GPU)
        with Engine(
            GPU, max_batch_rows=16, reproducible=reproducible, load=lambda *_: pipeline
        ) as engine:
            if together:
                handles = [engine.submit(spec_of(model), request) for request in requests]
                pictures = [handle.future.result(120) for handle in handles]
            else:
                pictures = [
                    engine.submit(spec_of(model), request).future.result(120)
                    for request in requests
                ]
        return [np.asarray(picture.image).astype(int) for picture in pictures]

    return paint


@pytest.mark.parametrize("model", ["sd", "sdxl", "sd3", "flux"])
def test_a_reproducible_picture_is_the_same_bit_for_bit_in_any_company(model, paint, make_request):
    requests = [make_request(seed=seed, steps=3 + seed) for seed in range(6)]
    alone = paint(model, requests, together=False, reproducible=True)
    together = paint(model, requests, together=True, reproducible=True)
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("model", ["sd", "sdxl"])
def test_by_default_company_changes_a_picture_by_rounding_only(
    model, paint, make_request, record_property
):
    requests = [make_request(seed=seed, steps=3 + seed) for seed in range(6)]
    alone = paint(model, requests, together=False, reproducible=False)
    together = paint(model, requests, together=True, reproducible=False)
    differences = [np.abs(one - other) for one, other in zip(alone, together, strict=True)]
    record_property("largest difference", max(int(each.max()) for each in differences))
    assert np.mean([each.mean() for each in differences]) < 1


@pytest.mark.parametrize("tuning", [Tuning(), Tuning(row_buckets=(16,)), Tuning(compiled=True)])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_captured_steps_draw_the_tokens_of_transformers(tuning, temperature, spec_of):
    """Its generator is on the card as well, so that the same seed is the same luck."""
    spec = spec_of("janus").model_copy(update={"dtype": "float32"})
    plain, pipeline = PlainJanus(spec), load_pipeline(spec, GPU)
    plain.model.to(GPU)
    pipeline.tune(tuning)
    width, height = spec.size.default
    states = [
        pipeline.encode(
            ImageRequest(
                prompt="x" * (1 + 9 * seed),
                width=width,
                height=height,
                steps=spec.steps.default,
                guidance_scale=3.0,
                seed=seed,
                temperature=temperature,
                top_k=0,
                top_p=1.0,
            )
        )
        for seed in range(5)
    ]
    while not states[0].is_finished:
        pipeline.step(states)
    for state in states:
        assert state.tokens.tolist() == plain.tokens(state.request)
