"""Every picture equals the one that plain diffusers paints for the same request."""

import pytest

from pipelines.schedulers import DENOISING_SCHEDULERS, FLOW_SCHEDULERS

#: Plain diffusers gives its flow pipelines' schedulers no seed, so those that draw noise differ.
UNSEEDED = {"DPM++ 2M SDE", "LCM"}
SOME = [None, "Euler", "Euler a", "DPM++ 2M Karras", "DDIM", "UniPC"]
CASES = [
    *(("sd", name) for name in [None, *DENOISING_SCHEDULERS]),
    *(("sd-zero-snr", name) for name in SOME),
    *(("sdxl", name) for name in SOME),
    *(("sd3", name) for name in [None, *FLOW_SCHEDULERS] if name not in UNSEEDED),
    *(("flux", name) for name in [None, "Euler Karras", "UniPC"]),
    ("sd-lcm", None),
    ("lcm", None),
]


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
@pytest.mark.parametrize(("model", "scheduler"), CASES)
def test_a_lone_picture_equals_that_of_diffusers(
    model, scheduler, guidance_scale, engine, spec_of, reference, make_request, difference
):
    request = make_request(
        scheduler=scheduler, guidance_scale=guidance_scale, negative_prompt="blue", width=80
    )
    picture = engine.submit(spec_of(model), request).future.result(60)
    assert difference(picture, reference(model, request)) <= 1


@pytest.mark.parametrize("scheduler", ["Euler a", "LCM", "Euler"])
def test_a_few_steps_suffice_for_distilled_models(
    scheduler, engine, spec_of, reference, make_request, difference
):
    """In the manner of Turbo: one or two steps, no guidance."""
    for steps in (1, 2):
        request = make_request(scheduler=scheduler, guidance_scale=0.0, steps=steps)
        picture = engine.submit(spec_of("sdxl"), request).future.result(60)
        assert difference(picture, reference("sdxl", request)) <= 1


@pytest.mark.parametrize("model", ["sd-zero-snr", "sdxl"])
def test_guidance_rescale_equals_that_of_diffusers(
    model, pipeline_of, spec_of, reference, make_request, difference, monkeypatch
):
    pipeline, request = pipeline_of(model), make_request()
    spec = spec_of(model).model_copy(update={"guidance_rescale": 0.7})
    monkeypatch.setattr(pipeline, "spec", spec)
    state = pipeline.encode(request)
    while not state.is_finished:
        pipeline.step([state])
    [picture] = pipeline.decode([state])
    assert difference(picture, reference(model, request, guidance_rescale=0.7)) <= 1
    assert difference(picture, reference(model, request)) > 1


@pytest.mark.parametrize("scheduler", sorted(UNSEEDED))
def test_a_flow_scheduler_that_draws_noise_obeys_the_seed(scheduler, engine, spec_of, make_request):
    request = make_request(scheduler=scheduler)
    first, again = (engine.submit(spec_of("sd3"), request).future.result(60) for _ in range(2))
    other = engine.submit(spec_of("sd3"), make_request(scheduler=scheduler, seed=2))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.image.tobytes() != other.future.result(60).image.tobytes()
