"""Every picture equals the one that plain diffusers paints for the same request."""

import pytest

SCHEDULERS = [None, "Euler", "Euler a", "DPM++ 2M", "DPM++ 2M Karras", "DDIM", "UniPC", "LCM"]


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("model", ["sd", "sd-zero-snr", "sdxl"])
def test_a_lone_picture_equals_that_of_diffusers(
    model, scheduler, guidance_scale, engine, spec_of, reference, make_request, difference
):
    request = make_request(
        scheduler=scheduler, guidance_scale=guidance_scale, negative_prompt="blue", width=80
    )
    picture = engine.submit(spec_of(model), request).future.result(60)
    assert difference(picture, reference(model, request)) <= 1
