"""The engine: who shares a batch does not matter, and whoever leaves is not missed."""

import gc
import threading
import time
import weakref
from concurrent.futures import CancelledError
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.engine import Engine
from pipelines.errors import (
    DeadlineError,
    EngineFullError,
    ImageCanceledError,
    PipelineError,
    RequestError,
)

CPU = torch.device("cpu")


@pytest.fixture
def gated(pipeline_of, hold_steps):
    return hold_steps(pipeline_of("sd"))


mixes = st.lists(
    st.fixed_dictionaries(
        {
            "steps": st.integers(2, 6),
            "scheduler": st.integers(0, 5),
            "guidance_scale": st.sampled_from([0.0, 1.0, 3.0, 7.5]),
            "negative_prompt": st.sampled_from(["", "blurred"]),
            "prompt": st.sampled_from(["a red circle", "a blue square", ""]),
            "width": st.sampled_from([64, 48]),
            "seed": st.integers(0, 2**63),
        }
    ),
    min_size=2,
    max_size=6,
)


UNET_SCHEDULERS = [None, "Euler", "Euler a", "DPM++ 2M", "DDIM", "UniPC"]
FLOW_SCHEDULERS = [None, "Euler", "Euler Karras", "DPM++ 2M", "UniPC", "Heun"]


@pytest.mark.parametrize(
    ("model", "schedulers"),
    [("sd", UNET_SCHEDULERS), ("sdxl", UNET_SCHEDULERS), ("sd3", FLOW_SCHEDULERS)],
)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(mix=mixes, pauses=st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_a_picture_is_the_same_in_any_company(
    model, schedulers, mix, pauses, engine, spec_of, reference, make_request, difference
):
    """Requests of all kinds join at random; each equals what diffusers paints for it alone."""
    requests = [
        make_request(**{**changes, "scheduler": schedulers[changes["scheduler"]]})
        for changes in mix
    ]
    handles = []
    for request, pause in zip(requests, pauses, strict=False):
        if handles:
            await_progress(handles[-1], pause)
        handles.append(engine.submit(spec_of(model), request))
    for handle, request in zip(handles, requests, strict=True):
        assert difference(handle.future.result(60), reference(model, request)) <= 1


def await_progress(handle, step):
    give_up_s = time.monotonic() + 30
    while handle.progress.step < step and not handle.future.done():
        assert time.monotonic() < give_up_s
        threading.Event().wait(0.001)


def test_a_cancelled_image_leaves_within_one_step_and_its_neighbours_do_not_notice(
    engine, gated, spec_of, make_request
):
    requests = [make_request(seed=seed, steps=5) for seed in range(8)]
    spec = spec_of("sd")
    undisturbed = paint_all(engine, gated, spec, requests)
    gated.close()

    with submitted_together(engine, gated, spec, requests) as handles:
        gated.await_step()
        gated.let_through()
        gated.await_step()
        assert gated.batches[-1] == list(range(8))
        handles[3].cancel()
        gated.open()
        with pytest.raises(ImageCanceledError):
            handles[3].future.result(30)
        rest = [handle.future.result(30) for handle in handles if handle is not handles[3]]

    last_with_it = max(turn for turn, batch in enumerate(gated.batches) if 3 in batch)
    assert gated.batches[last_with_it + 1] == [0, 1, 2, 4, 5, 6, 7]
    assert last_with_it == 2
    del undisturbed[3]
    for picture, alone in zip(rest, undisturbed, strict=True):
        assert np.array_equal(np.asarray(picture.image), np.asarray(alone.image))


def test_a_reproducible_engine_runs_equal_shapes_in_any_company(
    pipeline_of, spec_of, make_request, monkeypatch
):
    """Bits are then the same where kernels are chosen by shape, as on a GPU."""
    pipeline, shapes = pipeline_of("sdxl"), set()
    for name in ("_predict", "_pixels"):
        run = getattr(pipeline, name)

        def note(latents, *rest, name=name, run=run):
            shapes.add((name, len(latents)))
            return run(latents, *rest)

        monkeypatch.setattr(pipeline, name, note)
    requests = [make_request(seed=seed, steps=3 + seed) for seed in range(6)]
    with Engine(CPU, max_batch_rows=16, reproducible=True, load=lambda *_: pipeline) as engine:
        handles = [engine.submit(spec_of("sdxl"), request) for request in requests]
        for handle in handles:
            handle.future.result(60)
    assert shapes == {("_predict", 16), ("_pixels", 1)}


@contextmanager
def submitted_together(engine, gated, spec, requests):
    """All in the first batch: a step of a decoy is held while they are encoded."""
    decoy = engine.submit(spec, requests[0])
    gated.await_step()
    handles = [engine.submit(spec, request) for request in requests]
    give_up_s = time.monotonic() + 30
    while any(handle.progress.steps == 0 for handle in handles):
        assert time.monotonic() < give_up_s
        threading.Event().wait(0.001)
    decoy.cancel()
    gated.let_through()
    yield handles


def paint_all(engine, gated, spec, requests):
    with submitted_together(engine, gated, spec, requests) as handles:
        gated.open()
        return [handle.future.result(30) for handle in handles]


def test_a_cancelled_image_takes_its_memory_along(engine, gated, spec_of, make_request):
    handle = engine.submit(spec_of("sd"), make_request())
    gated.await_step()
    latents = weakref.ref(handle.state.latents)
    handle.cancel()
    gated.open()
    with pytest.raises(ImageCanceledError):
        handle.future.result(30)
    after = engine.submit(spec_of("sd"), make_request())
    after.future.result(30)
    gc.collect()
    assert latents() is None


@pytest.mark.parametrize("stage", ["encode", "decode"])
def test_encoding_and_decoding_one_image_does_not_stop_the_steps_of_another(
    stage, engine, pipeline_of, spec_of, make_request, monkeypatch
):
    """One image is held in a stage until another has taken all its steps."""
    pipeline = pipeline_of("sd")
    work, is_held, may_go_on = getattr(pipeline, stage), threading.Event(), threading.Event()

    def held(subject):
        request = subject if stage == "encode" else subject[0].request
        if request.seed == 1:
            is_held.set()
            assert may_go_on.wait(30)
        return work(subject)

    long = engine.submit(spec_of("sd"), make_request(seed=2, steps=60))
    await_progress(long, 1)
    monkeypatch.setattr(pipeline, stage, held)
    slow = engine.submit(spec_of("sd"), make_request(seed=1, steps=2))
    assert is_held.wait(30)
    await_progress(long, long.progress.step + 5)
    assert not slow.future.done()
    may_go_on.set()
    slow.future.result(30)
    long.future.result(30)


def test_cancelling_while_it_is_decoded_does_not_hurt_those_decoded_with_it(
    engine, gated, pipeline_of, spec_of, make_request, reference, difference, monkeypatch
):
    pipeline = pipeline_of("sd")
    decode, is_decoding, may_go_on = pipeline.decode, threading.Event(), threading.Event()

    def held(states):
        is_decoding.set()
        assert may_go_on.wait(30)
        return decode(states)

    monkeypatch.setattr(pipeline, "decode", held)
    requests = [make_request(seed=seed) for seed in range(2)]
    with submitted_together(engine, gated, spec_of("sd"), requests) as (first, second):
        gated.open()
        assert is_decoding.wait(30)
        first.cancel()
        with pytest.raises(ImageCanceledError):
            first.future.result(30)
        may_go_on.set()
        assert difference(second.future.result(30), reference("sd", requests[1])) <= 1


def test_an_image_past_its_deadline_leaves_and_says_how_far_it_was(
    engine, gated, spec_of, make_request
):
    request = make_request(deadline=time.monotonic() + 0.2)
    handle = engine.submit(spec_of("sd"), request)
    gated.await_step()
    while time.monotonic() < request.deadline:
        threading.Event().wait(0.01)
    gated.let_through()
    with pytest.raises(DeadlineError, match="1 of 5 steps"):
        handle.future.result(30)


def test_a_deadline_that_passes_while_the_model_loads_is_kept(spec_of, make_request):
    loading = threading.Event()

    def load(spec, device):
        loading.wait(30)
        raise PipelineError("not reached in time")

    with Engine(CPU, load=load) as engine:
        handle = engine.submit(spec_of("sd"), make_request(deadline=time.monotonic() + 0.05))
        with pytest.raises(DeadlineError):
            handle.future.result(30)
        loading.set()


def test_cancelling_the_future_cancels_the_image(engine, gated, spec_of, make_request):
    handle = engine.submit(spec_of("sd"), make_request())
    gated.await_step()
    assert handle.future.cancel()
    gated.open()
    with pytest.raises(CancelledError):
        handle.future.result(0)
    after = engine.submit(spec_of("sd"), make_request(seed=7))
    after.future.result(30)
    assert [1] not in gated.batches[1:]


def test_a_pipeline_that_raises_fails_its_batch_and_the_engine_lives_on(
    engine, pipeline_of, spec_of, make_request, monkeypatch, caplog
):
    def explode(states):
        raise ZeroDivisionError("secret")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline_of("sd"), "step", explode)
        handle = engine.submit(spec_of("sd"), make_request())
        with pytest.raises(PipelineError) as caught:
            handle.future.result(30)
    assert str(caught.value) == "the model failed: ZeroDivisionError"
    assert "secret" in caplog.text
    assert engine.submit(spec_of("sd"), make_request()).future.result(30).image.size == (64, 64)


def test_an_image_whose_scheduler_fails_does_not_take_its_neighbours_along(
    engine, gated, spec_of, reference, make_request, difference
):
    """PNDM reads past the end of its table when asked for as many steps as it was trained with."""
    good, bad = make_request(seed=1), make_request(seed=2, steps=1000)
    with submitted_together(engine, gated, spec_of("sd"), [good, bad]) as (fine, failing):
        gated.open()
        with pytest.raises(PipelineError, match="the model failed: IndexError"):
            failing.future.result(30)
        assert difference(fine.future.result(30), reference("sd", good)) <= 1
    assert [1, 2] in gated.batches


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"width": 60}, "width: 60 is not a multiple of 8"),
        (
            {"scheduler": "Nonesuch"},
            "scheduler: this model cannot use 'Nonesuch'; it can use: Euler,",
        ),
        ({"steps": 0}, "steps: 0 is less than 1"),
        ({"steps": 51, "scheduler": "LCM"}, "steps: LCM cannot take 51"),
    ],
)
def test_what_a_model_cannot_do_is_refused_by_name(changes, text, engine, spec_of, make_request):
    handle = engine.submit(spec_of("sd"), make_request(**changes))
    with pytest.raises(RequestError) as caught:
        handle.future.result(30)
    assert text in str(caught.value)


def test_a_scheduler_that_does_not_know_the_models_noise_is_refused(engine, spec_of, make_request):
    handle = engine.submit(spec_of("sd-zero-snr"), make_request(scheduler="Heun"))
    with pytest.raises(RequestError, match="cannot use 'Heun'"):
        handle.future.result(30)


def test_a_prompt_that_is_cut_is_reported(engine, spec_of, make_request):
    request = make_request(prompt="x" * 100, negative_prompt="y" * 90)
    assert engine.submit(spec_of("sd"), request).future.result(30).warnings == (
        "prompt: 102 tokens, the model reads the first 77",
        "negative prompt: 92 tokens, the model reads the first 77",
    )


def test_progress_is_told_up_to_the_last_step(engine, spec_of, make_request):
    told = []
    handle = engine.submit(spec_of("sdxl"), make_request(steps=6), on_progress=told.append)
    handle.future.result(30)
    steps = [progress.step for progress in told]
    assert steps == sorted(steps)
    assert {progress.steps for progress in told} == {6}
    assert (handle.progress.step, handle.progress.steps) == (6, 6)


def test_a_callback_that_blocks_or_raises_hurts_nobody(engine, spec_of, make_request):
    blocked = threading.Event()

    def block(progress):
        blocked.wait(30)
        raise ValueError("a bug of the submitter's")

    rude = engine.submit(spec_of("sd"), make_request(), on_progress=block)
    rude.future.result(30)
    engine.submit(spec_of("sd"), make_request()).future.result(30)
    blocked.set()


def test_a_full_engine_refuses(gated, pipeline_of, spec_of, make_request):
    with Engine(CPU, max_images=1, load=lambda spec, _: pipeline_of(spec.name)) as engine:
        engine.submit(spec_of("sd"), make_request())
        with pytest.raises(EngineFullError):
            engine.submit(spec_of("sd"), make_request())
        gated.open()


def test_stopping_fails_what_is_not_finished(gated, pipeline_of, spec_of, make_request):
    engine = Engine(CPU, load=lambda spec, _: pipeline_of(spec.name))
    engine.start()
    handle = engine.submit(spec_of("sd"), make_request(steps=300))
    gated.await_step()
    gated.open()
    engine.stop()
    with pytest.raises(ImageCanceledError, match="stopped"):
        handle.future.result(30)
    with pytest.raises(EngineFullError):
        engine.submit(spec_of("sd"), make_request())
