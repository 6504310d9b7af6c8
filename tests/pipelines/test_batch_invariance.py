"""On a CPU nobody's picture changes by a bit, whoever joins, leaves or is cancelled."""

import threading
import time

import pytest
import torch
from diffusers.models.activations import GEGLU, GELU
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from pipelines.batch_invariance import make_batch_invariant
from pipelines.errors import ImageCanceledError
from pipelines.tuning import Tuning

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="PyTorch is built without oneDNN"
)

CHANNELS_LAST = torch.channels_last
LAYERS = {
    "linear over vectors": (lambda: nn.Linear(32, 48), (32,), None),
    "linear over tokens": (lambda: nn.Linear(32, 48), (5, 32), None),
    "1x1 convolution": (lambda: nn.Conv2d(32, 8, 1), (32, 8, 8), None),
    "3x3 convolution": (lambda: nn.Conv2d(32, 16, 3, padding=1), (32, 8, 8), None),
    "convolution with channels last": (lambda: nn.Conv2d(8, 8, 3), (8, 8, 8), CHANNELS_LAST),
    "group norm": (lambda: nn.GroupNorm(4, 8), (8, 8, 8), None),
    "group norm with channels last": (lambda: nn.GroupNorm(4, 16), (16, 33, 32), CHANNELS_LAST),
    "silu": (nn.SiLU, (8, 37, 37), None),
    "gelu": (nn.GELU, (8, 37, 37), None),
    "gelu by tanh": (lambda: nn.GELU("tanh"), (8, 37, 37), None),
    "gated gelu": (lambda: GEGLU(16, 100), (99, 16), None),
    "projected gelu by tanh": (lambda: GELU(16, 100, "tanh"), (99, 16), None),
}


@pytest.fixture
def set_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", LAYERS)
@torch.inference_mode()
def test_a_row_does_not_depend_on_how_many_rows_and_threads_there_are(name, set_threads):
    build, shape, memory_format = LAYERS[name]
    torch.manual_seed(0)
    plain, rows = build(), torch.randn(20, *shape)
    invariant = build()
    invariant.load_state_dict(plain.state_dict())
    make_batch_invariant(invariant)
    rows = rows.contiguous(memory_format=memory_format) if memory_format else rows
    every = invariant(rows)
    assert torch.allclose(every, plain(rows), atol=1e-5)
    for threads in (1, 2, 3, 5):
        set_threads(threads)
        for count in range(1, 21):
            assert torch.equal(invariant(rows[:count]), every[:count]), (threads, count)


companies = st.lists(
    st.fixed_dictionaries(
        {
            "steps": st.integers(2, 5),
            "guidance_scale": st.sampled_from([1.0, 5.0]),
            "scheduler": st.sampled_from([None, "Euler", "UniPC"]),
            "seed": st.integers(0, 3),
        }
    ),
    min_size=2,
    max_size=8,
)


@pytest.fixture(scope="module")
def alone():
    """Pictures painted without company, by model and request."""
    return {}


@pytest.mark.parametrize("model", ["sd", "sd-zero-snr", "sdxl", "sd3", "flux"])
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    company=companies, pauses=st.lists(st.integers(0, 2), min_size=8, max_size=8), data=st.data()
)
def test_joining_leaving_and_cancelling_change_no_bit_of_anybodys_picture(
    model, company, pauses, data, alone, engine, spec_of, make_request
):
    requests = [make_request(**changes) for changes in company]
    cancelled = data.draw(st.integers(0, len(requests) - 1), "who is cancelled")
    step = data.draw(st.integers(0, requests[cancelled].steps), "after which step")
    for request in requests:
        if (model, request) not in alone:
            picture = engine.submit(spec_of(model), request).future.result(60)
            alone[model, request] = picture.image.tobytes()
    handles = []
    for request, pause in zip(requests, pauses, strict=False):
        if handles:
            await_step(handles[-1], pause)
        handles.append(engine.submit(spec_of(model), request))
    await_step(handles[cancelled], step)
    handles[cancelled].cancel()
    for handle, request in zip(handles, requests, strict=True):
        try:
            picture = handle.future.result(60)
        except ImageCanceledError:
            assert handle is handles[cancelled]
        else:
            assert picture.image.tobytes() == alone[model, request]


def await_step(handle, step):
    give_up_s = time.monotonic() + 30
    while handle.progress.step < step and not handle.future.done():
        assert time.monotonic() < give_up_s
        threading.Event().wait(0.001)


@torch.inference_mode()
def test_latents_on_shared_cores_equal_those_of_one(load_fresh, make_request, set_threads):
    """Not only what is left of them in eight bits: rows together, in shares, and alone."""
    requests = [make_request(seed=seed, scheduler="Euler") for seed in range(9)]
    latents = []
    for threads, size in ((1, 1), (1, 9), (2, 4), (2, 9)):
        pipeline = load_fresh("sdxl")
        set_threads(threads)
        pipeline.tune(Tuning(cpu_threads=threads))
        states = [pipeline.encode(request) for request in requests]
        for begin in range(0, len(states), size):
            together = states[begin : begin + size]
            while not together[0].is_finished:
                pipeline.step(together)
        latents.append(torch.cat([state.latents for state in states]))
    assert all(torch.equal(each, latents[0]) for each in latents[1:])
