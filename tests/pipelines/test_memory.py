"""Batches are as large as memory lets them be, and running out of it fails nobody who fits."""

import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engine import Engine
from pipelines.errors import OutOfMemoryError
from pipelines.memory import MARGIN, STEPS_BEFORE_GROWING, Memory, Work, measure_peak, rows_that_fit
from pipelines.pipeline import Phase

CPU = torch.device("cpu")
WORK = Work("model", Phase.STEP, 64, 64)


# -- the estimate ----------------------------------------------------------------------------------


@given(st.floats(1, 1e9), st.integers(0, 10**12))
def test_rows_that_fit_do_fit(row_bytes, free_bytes):
    rows = rows_that_fit(row_bytes, free_bytes)
    assert rows == 1 or rows * row_bytes * MARGIN <= free_bytes * 1.000001


def test_what_an_operation_takes_is_measured():
    ones = torch.ones(1000, 1000)
    with measure_peak(CPU) as peak:
        twos = ones + 1
        threes = twos + 1
        del twos
        threes + 1
    assert peak.bytes == 2 * ones.nbytes


def use(memory, work, rows, row_bytes):
    with memory.watch(work, rows):
        torch.empty(rows, row_bytes, dtype=torch.uint8)


def test_the_first_of_its_kind_is_tried_with_one_and_the_next_fill_what_is_free():
    memory = Memory(CPU, limit_bytes=1_000_000, models_bytes=lambda: 200_000)
    assert memory.max_rows(WORK, 32) == 1
    use(memory, WORK, 1, 50_000)
    assert memory.max_rows(WORK, 32) == 800_000 // int(50_000 * MARGIN)
    assert memory.max_rows(WORK, 4) == 4


def test_a_size_never_seen_is_judged_by_its_pixels():
    memory = Memory(CPU, limit_bytes=1_000_000, models_bytes=lambda: 0)
    use(memory, WORK, 1, 50_000)
    larger = WORK._replace(width=128)
    assert memory.max_rows(larger, 32) == 1_000_000 // int(100_000 * MARGIN)
    assert memory.max_rows(WORK._replace(model="other"), 32) == 1
    assert memory.max_rows(WORK._replace(phase=Phase.DECODE), 32) == 1


def test_without_a_limit_a_cpu_runs_what_is_wanted():
    assert Memory(CPU, None, lambda: 0).max_rows(WORK, 32) == 32


def test_a_cap_grows_again_when_all_goes_well():
    memory = Memory(CPU, None, lambda: 0)
    memory.run_out(WORK, 16)
    assert memory.max_rows(WORK, 32) == 8
    for _ in range(STEPS_BEFORE_GROWING):
        use(memory, WORK, 8, 1)
    assert memory.max_rows(WORK, 32) == 9


# -- the engine ------------------------------------------------------------------------------------


@pytest.fixture
def scarce(pipeline_of, monkeypatch):
    """Makes the device run out of memory at a number of rows, as its allocator would tell it."""

    def scarce(part, max_rows):
        seen = []
        forward = part.forward if hasattr(part, "forward") else part

        def limited(latents, *args, **kwargs):
            seen.append(latents.shape[0])
            if latents.shape[0] > max_rows():
                raise torch.OutOfMemoryError("tried to allocate more than there is")
            return forward(latents, *args, **kwargs)

        monkeypatch.setattr(part, "forward", limited)
        return seen

    return scarce


def test_a_batch_that_does_not_fit_is_split_and_nobody_fails(
    engine, pipeline_of, spec_of, scarce, hold_steps, make_request, reference, difference
):
    pipeline = pipeline_of("sd")
    rows = scarce(pipeline.denoiser, lambda: 5)
    gate = hold_steps(pipeline)
    requests = [make_request(seed=seed) for seed in range(8)]
    decoy = engine.submit(spec_of("sd"), requests[0])
    gate.await_step()
    handles = [engine.submit(spec_of("sd"), request) for request in requests]
    await_encoded(handles)
    decoy.cancel()
    gate.open()
    for handle, request in zip(handles, requests, strict=True):
        assert difference(handle.future.result(60), reference("sd", request)) <= 1
    assert rows[1:4] == [16, 8, 4]
    assert max(rows[4:]) <= 5


def await_encoded(handles):
    give_up_s = time.monotonic() + 30
    while any(handle.progress.steps == 0 for handle in handles):
        assert time.monotonic() < give_up_s
        threading.Event().wait(0.001)


def test_a_single_image_that_does_not_fit_fails_with_its_size_and_the_engine_lives_on(
    engine, pipeline_of, spec_of, scarce, make_request
):
    is_scarce = True
    scarce(pipeline_of("sd").denoiser, lambda: 0 if is_scarce else 99)
    handle = engine.submit(spec_of("sd"), make_request(width=96))
    with pytest.raises(OutOfMemoryError, match="a 96x64 image does not fit into the memory of cpu"):
        handle.future.result(30)
    is_scarce = False
    engine.submit(spec_of("sd"), make_request()).future.result(30)


def test_attention_is_sliced_where_a_single_image_does_not_fit_without(
    pipeline_of, spec_of, scarce, make_request, reference, difference, load_fresh
):
    pipeline = load_fresh("sd")
    scarce(pipeline.denoiser, lambda: 99 if pipeline._is_slicing else 0)
    with Engine(CPU, load=lambda *_: pipeline) as engine:
        request = make_request()
        picture = engine.submit(spec_of("sd"), request).future.result(30)
    assert difference(picture, reference("sd", request)) <= 1


def test_a_decode_that_does_not_fit_is_tiled(
    spec_of, scarce, make_request, reference, difference, load_fresh
):
    pipeline = load_fresh("sd")
    scarce(pipeline.vae.decoder, lambda: 99 if pipeline.vae.use_tiling else 0)
    with Engine(CPU, load=lambda *_: pipeline) as engine:
        request = make_request()
        picture = engine.submit(spec_of("sd"), request).future.result(30)
        assert pipeline.vae.use_tiling
        # One tile holds all of so small a picture, so that tiling changes nothing in it.
        assert difference(picture, reference("sd", request)) <= 1


def test_batches_keep_to_the_limit_that_the_engine_is_given(
    pipeline_of, spec_of, hold_steps, make_request
):
    """Measured on this very model: a limit that three rows fit under lets no fourth in."""
    pipeline = pipeline_of("sd")
    state = pipeline.encode(make_request(guidance_scale=1.0))
    with measure_peak(CPU) as peak:
        pipeline.step([state])
    limit_bytes = int(pipeline.size_bytes + 3.5 * MARGIN * peak.bytes)
    gate = hold_steps(pipeline)
    gate.open()
    requests = [make_request(seed=seed, guidance_scale=1.0, steps=9) for seed in range(9)]
    with Engine(CPU, memory_limit_bytes=limit_bytes, load=lambda *_: pipeline) as engine:
        handles = [engine.submit(spec_of("sd"), request) for request in requests]
        for handle in handles:
            handle.future.result(30)
    assert len(gate.batches[0]) == 1
    assert max(len(batch) for batch in gate.batches) in (2, 3)
