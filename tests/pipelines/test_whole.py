"""A pipeline that cannot be taken apart still gives the loop its steps."""

import threading

import pytest

from pipelines.errors import ImageCanceledError, PipelineError, RequestError


@pytest.fixture
def gated(pipeline_of, hold_steps):
    return hold_steps(pipeline_of("pag"))


def finish(pipeline, states):
    while not all(state.is_finished for state in states):
        pipeline.step(states)
    return pipeline.decode(states)


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_pictures_painted_together_equal_those_painted_alone(
    guidance_scale, pipeline_of, reference, make_request, difference
):
    pipeline = pipeline_of("pag")
    requests = [
        make_request(seed=seed, prompt=prompt, guidance_scale=guidance_scale)
        for seed, prompt in enumerate(["a red circle", "a blue square", ""])
    ]
    states = [pipeline.encode(request) for request in requests]
    assert len({pipeline.batch_key(state) for state in states}) == 1
    for picture, request in zip(finish(pipeline, states), requests, strict=True):
        assert difference(picture, reference("pag", request)) <= 1


def test_two_runs_take_turns_without_noticing_each_other(
    pipeline_of, reference, make_request, difference
):
    pipeline = pipeline_of("pag")
    requests = [make_request(seed=1, steps=3), make_request(seed=2, steps=6, guidance_scale=1.0)]
    states = [pipeline.encode(request) for request in requests]
    assert pipeline.batch_key(states[0]) != pipeline.batch_key(states[1])
    while not all(state.is_finished for state in states):
        for state in states:
            if not state.is_finished:
                pipeline.step([state])
    for state, request in zip(states, requests, strict=True):
        [picture] = pipeline.decode([state])
        assert difference(picture, reference("pag", request)) <= 1


def test_its_steps_are_those_of_its_scheduler(engine, spec_of, make_request):
    """PNDM, which this model was saved with, takes one forward pass more than it is asked for."""
    told = []
    handle = engine.submit(spec_of("pag"), make_request(steps=4), on_progress=told.append)
    handle.future.result(60)
    assert (handle.progress.step, handle.progress.steps) == (5, 5)


def test_one_who_leaves_does_not_disturb_the_run(pipeline_of, reference, make_request, difference):
    pipeline = pipeline_of("pag")
    requests = [make_request(seed=seed) for seed in range(2)]
    states = [pipeline.encode(request) for request in requests]
    pipeline.step(states)
    pipeline.release(states[0])
    [picture] = finish(pipeline, states[1:])
    assert difference(picture, reference("pag", requests[1])) <= 1


def test_the_last_who_leaves_ends_the_call(engine, gated, spec_of, make_request):
    handle = engine.submit(spec_of("pag"), make_request(steps=50))
    gated.await_step()
    gated.let_through()
    gated.await_step()
    [call] = [thread for thread in threading.enumerate() if thread.name == "darkroom-whole"]
    handle.cancel()
    gated.open()
    with pytest.raises(ImageCanceledError):
        handle.future.result(30)
    call.join(30)
    assert not call.is_alive()


def test_a_call_that_fails_fails_its_images_and_no_thread_is_left(
    engine, pipeline_of, spec_of, make_request, monkeypatch
):
    def explode(*_, **__):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(pipeline_of("pag").components.unet, "forward", explode)
        handle = engine.submit(spec_of("pag"), make_request())
        with pytest.raises(PipelineError, match="ZeroDivisionError"):
            handle.future.result(30)
    assert engine.submit(spec_of("pag"), make_request()).future.result(30).image.size == (64, 64)


def test_a_scheduler_by_name_is_refused(engine, spec_of, make_request):
    handle = engine.submit(spec_of("pag"), make_request(scheduler="Euler"))
    with pytest.raises(RequestError, match="its own only"):
        handle.future.result(30)
