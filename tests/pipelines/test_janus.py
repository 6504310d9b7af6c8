"""Janus: in any company each image's tokens are those that transformers' `generate` draws."""

import threading
import time

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_janus import TOKENS, ask

from pipelines.engine import Engine
from pipelines.errors import ImageCanceledError
from pipelines.loading import load_pipeline, weigh_model
from pipelines.memory import MARGIN, measure_peak
from pipelines.tuning import Tuning

CPU = torch.device("cpu")


@pytest.fixture
def drawn(janus, monkeypatch):
    """The tokens of every finished image, by its request."""
    tokens, decode = {}, janus.decode

    def noted(states):
        tokens.update({state.request: state.tokens.tolist() for state in states})
        return decode(states)

    monkeypatch.setattr(janus, "decode", noted)
    return tokens


def run(pipeline, *requests):
    """The tokens of requests that share every step, without an engine."""
    states = [pipeline.encode(request) for request in requests]
    while not states[0].is_finished:
        pipeline.step(states)
    return [state.tokens.tolist() for state in states]


# -- tokens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0, 7.5])
@pytest.mark.parametrize(
    "rules",
    [
        {"temperature": 0.0},
        {},
        {"temperature": 0.7, "top_k": 20},
        {"top_p": 0.8},
        {"temperature": 1.3, "top_k": 30, "top_p": 0.9, "prompt": "a large yellow star, and more"},
    ],
)
def test_a_lone_image_has_the_tokens_of_transformers(janus, plain_janus, rules, guidance_scale):
    request = ask(guidance_scale=guidance_scale, **rules)
    [tokens] = run(janus, request)
    assert tokens == plain_janus.tokens(request)


mixes = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": st.sampled_from(["", "a red circle", "a blue square above a green star"]),
            "guidance_scale": st.sampled_from([0.0, 1.0, 3.0, 5.0]),
            "temperature": st.sampled_from([0.0, 0.8, 1.0]),
            "top_k": st.sampled_from([0, 10]),
            "top_p": st.sampled_from([0.9, 1.0]),
            "seed": st.integers(0, 2**63),
        }
    ),
    min_size=2,
    max_size=8,
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(mix=mixes, pauses=st.lists(st.integers(0, 9), min_size=8, max_size=8))
def test_tokens_are_those_of_transformers_in_any_company(
    mix, pauses, engine, spec_of, plain_janus, drawn
):
    """Requests of all kinds join at random tokens of each other."""
    requests, handles = [ask(**changes) for changes in mix], []
    for request, pause in zip(requests, pauses, strict=False):
        if handles:
            await_that(lambda pause=pause: handles[-1].progress.step >= pause)
        handles.append(engine.submit(spec_of("janus"), request))
    for handle in handles:
        handle.future.result(60)
    for request in requests:
        assert drawn[request] == plain_janus.tokens(request)


def await_that(holds):
    give_up_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_s
        threading.Event().wait(0.001)


@pytest.mark.parametrize("reproducible", [False, True])
def test_on_a_cpu_every_score_is_the_same_bit_for_bit_in_any_company(reproducible, spec_of):
    """By layers that go one way always, and no less with equal shapes."""
    requests = [ask(seed=seed, prompt="x" * (1 + 9 * seed)) for seed in range(6)]
    pipeline, scores = load_pipeline(spec_of("janus"), CPU), {}
    step, read = pipeline.step, pipeline.tokens.read

    def stepped(states):
        under_way[:] = [(state.request, state.step, state) for state in states]
        step(states)

    def noted(reads):
        found = read(reads)
        for request, token, state in under_way:
            scores.setdefault((request, token), []).append(found[list(state.slots)])
        return found

    under_way = []
    pipeline.step, pipeline.tokens.read = stepped, noted
    with Engine(
        CPU, max_batch_rows=8, reproducible=reproducible, load=lambda *_: pipeline
    ) as engine:
        for request in requests:
            engine.submit(spec_of("janus"), request).future.result(60)
        handles = [engine.submit(spec_of("janus"), request) for request in requests]
        for handle in handles:
            handle.future.result(60)
    assert len(scores) == len(requests) * TOKENS
    assert all(torch.equal(alone, among) for alone, among in scores.values())


@pytest.mark.parametrize(
    "tuning",
    [
        Tuning(cpu_threads=2),
        Tuning(row_buckets=(4, 16)),
        pytest.param(
            Tuning(compiled=True),
            marks=[
                pytest.mark.slow,
                # torch's compiler still uses what torch deprecates.
                pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning"),
            ],
        ),
    ],
    ids=["shared among cores", "row buckets", "compiled"],
)
def test_a_tuned_model_draws_the_same_tokens(tuning, load_fresh, plain_janus):
    pipeline = load_fresh("janus")
    pipeline.tune(tuning)
    # Sharing sets the number for the whole process, and little is gained here by a second core.
    torch.set_num_threads(1)
    requests = [ask(seed=seed, prompt="x" * seed) for seed in range(8)]
    assert run(pipeline, *requests) == [plain_janus.tokens(request) for request in requests]
    assert run(pipeline, requests[0]) == [plain_janus.tokens(requests[0])]


def test_batches_keep_to_the_limit_that_the_engine_is_given(
    load_fresh, plain_janus, spec_of, hold_steps
):
    pipeline = load_fresh("janus")
    state = pipeline.encode(ask())
    with measure_peak(CPU) as peak:
        pipeline.step([state])
    pipeline.release(state)
    limit_bytes = int(pipeline.size_bytes + 3.5 * MARGIN * peak.bytes / state.rows)
    gate = hold_steps(pipeline)
    gate.open()
    with Engine(CPU, memory_limit_bytes=limit_bytes, load=lambda *_: pipeline) as engine:
        handles = [engine.submit(spec_of("janus"), ask(seed=seed)) for seed in range(4)]
        for handle in handles:
            handle.future.result(60)
    assert {len(batch) for batch in gate.batches} == {1}


def test_a_step_that_fails_is_tried_again_with_the_same_luck(janus, plain_janus, monkeypatch):
    state, request = janus.encode(ask()), ask()
    janus.step([state])
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.janus.draw_tokens", raise_out_of_memory)
        with pytest.raises(torch.OutOfMemoryError):
            janus.step([state])
    while not state.is_finished:
        janus.step([state])
    assert state.tokens.tolist() == plain_janus.tokens(request)


def raise_out_of_memory(*_):
    raise torch.OutOfMemoryError("tried to allocate more than there is")


def test_two_kinds_of_model_take_turns_step_by_step(
    engine,
    pipeline_of,
    spec_of,
    plain_janus,
    drawn,
    hold_steps,
    make_request,
    reference,
    difference,
):
    """Token by token and denoising step by denoising step on one device, each as if alone."""
    turns, gates = [], {name: hold_steps(pipeline_of(name)) for name in ("sd", "janus")}
    for name in gates:
        step = pipeline_of(name).step
        pipeline_of(name).step = lambda states, name=name, step=step: (
            turns.append(name),
            step(states),
        )
    tokens = [ask(seed=seed) for seed in range(3)]
    denoised = [make_request(seed=seed, steps=16) for seed in range(3)]
    handles = [engine.submit(spec_of("janus"), request) for request in tokens]
    gates["janus"].await_step()
    others = [engine.submit(spec_of("sd"), request) for request in denoised]
    await_that(lambda: all(handle.progress.steps for handle in others))
    for gate in gates.values():
        gate.open()
    for handle, request in zip(others, denoised, strict=True):
        assert difference(handle.future.result(60), reference("sd", request)) <= 1
    for handle, request in zip(handles, tokens, strict=True):
        handle.future.result(60)
        assert drawn[request] == plain_janus.tokens(request)
    while_both = turns[turns.index("sd") : len(turns) - turns[::-1].index("sd")]
    assert while_both.count("janus") > 2


# -- slots -----------------------------------------------------------------------------------------


def test_more_images_than_slots_wait_their_turn_and_leave_every_slot_free(
    engine, janus, spec_of, plain_janus, drawn
):
    requests = [ask(seed=seed, guidance_scale=1.0 + 2.0 * (seed % 3 > 0)) for seed in range(30)]
    handles = [engine.submit(spec_of("janus"), request) for request in requests]
    for handle in handles:
        handle.future.result(60)
    assert all(drawn[request] == plain_janus.tokens(request) for request in requests)
    assert janus.slots.free == janus.slots.count == 16


def test_whoever_waits_for_slots_is_not_overtaken_by_those_who_need_fewer(
    engine, janus, hold_steps, spec_of
):
    gate = hold_steps(janus)
    first = [engine.submit(spec_of("janus"), ask(seed=seed)) for seed in range(7)]
    single = engine.submit(spec_of("janus"), ask(seed=7, guidance_scale=1.0))
    await_that(lambda: janus.slots.free == 1)
    large = engine.submit(spec_of("janus"), ask(seed=8))
    small = engine.submit(spec_of("janus"), ask(seed=9, guidance_scale=1.0))
    gate.open()
    for handle in (*first, single, large, small):
        handle.future.result(60)
    came = {seed: turn for turn, batch in reversed([*enumerate(gate.batches)]) for seed in batch}
    assert came[7] < came[8] <= came[9]


def test_an_image_cancelled_between_tokens_gives_its_slots_to_the_next(
    engine, janus, hold_steps, spec_of, plain_janus, drawn
):
    gate = hold_steps(janus)
    handles = [engine.submit(spec_of("janus"), ask(seed=seed)) for seed in range(9)]
    await_that(lambda: janus.slots.free == 0)
    for _ in range(3):
        gate.await_step()
        gate.let_through()
    gate.await_step()
    handles[2].cancel()
    gate.open()
    with pytest.raises(ImageCanceledError):
        handles[2].future.result(30)
    for handle in handles[:2] + handles[3:]:
        handle.future.result(60)
    assert all(tokens == plain_janus.tokens(request) for request, tokens in drawn.items())
    assert len(drawn) == 8
    assert janus.slots.free == 16


def test_a_prompt_is_read_once_for_all_the_images_of_it(janus, monkeypatch):
    read = []
    prefill = janus.tokens.prefill
    monkeypatch.setattr(
        janus.tokens, "prefill", lambda tokens: read.append(tokens) or prefill(tokens)
    )
    states = [janus.encode(ask(prompt="never seen before", seed=seed)) for seed in range(3)]
    for state in states:
        janus.release(state)
    assert [len(tokens) for tokens in read] == [states[0].prompt_length] * 2


def test_nobody_waits_for_a_newcomers_prompt_to_be_read(engine, janus, spec_of, monkeypatch):
    prefill, is_reading, may_go_on = janus.tokens.prefill, threading.Event(), threading.Event()

    def held(tokens):
        is_reading.set()
        assert may_go_on.wait(30)
        return prefill(tokens)

    first = janus.encode(ask())
    janus.release(first)
    monkeypatch.setattr(janus.tokens, "prefill", held)
    # Its own prompt is kept already.
    under_way = engine.submit(spec_of("janus"), ask(seed=2))
    newcomer = engine.submit(spec_of("janus"), ask(prompt="something not read before"))
    assert is_reading.wait(30)
    under_way.future.result(30)
    assert not newcomer.future.done()
    may_go_on.set()
    newcomer.future.result(30)


def test_a_model_is_weighed_with_its_slots(janus, spec_of):
    weighed = weigh_model(spec_of("janus"), CPU)
    assert janus.slots.size_bytes < janus.size_bytes < weighed
    more = spec_of("janus").model_copy(update={"slots": 116})
    assert weigh_model(more, CPU) - weighed == 100 * janus.slots.size_bytes // 16
