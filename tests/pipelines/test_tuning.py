"""What is done for speed does not show in a picture."""

import pytest
import torch

from pipelines.engine import Engine
from pipelines.tuning import Tuning

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "tuning",
    [
        Tuning(channels_last=True),
        Tuning(fused_qkv=True),
        Tuning(row_buckets=(1, 4, 16)),
        pytest.param(
            Tuning(compiled=True, row_buckets=(2,)),
            marks=[
                pytest.mark.slow,
                # torch's compiler still uses what torch deprecates.
                pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning"),
            ],
        ),
    ],
    ids=["channels last", "fused qkv", "row buckets", "compiled"],
)
def test_a_tuned_model_paints_the_same_picture(
    tuning, load_fresh, spec_of, reference, make_request, difference
):
    pipeline, request = load_fresh("sdxl"), make_request()
    with Engine(CPU, tuning=tuning, load=lambda *_: pipeline) as engine:
        picture = engine.submit(spec_of("sdxl"), request).future.result(300)
    assert difference(picture, reference("sdxl", request)) <= 1


def test_batches_are_padded_up_to_a_bucket(load_fresh, spec_of, make_request, monkeypatch):
    pipeline, rows = load_fresh("sd"), []
    forward = pipeline.denoiser.forward

    def count(latents, *args, **kwargs):
        rows.append(latents.shape[0])
        return forward(latents, *args, **kwargs)

    monkeypatch.setattr(pipeline.denoiser, "forward", count)
    pipeline.tune(Tuning(row_buckets=(4, 8)))
    states = [pipeline.encode(make_request(seed=seed)) for seed in range(5)]
    for count_of_states in (1, 2, 3, 5):
        pipeline.step(states[:count_of_states])
    assert rows == [4, 4, 8, 10]
