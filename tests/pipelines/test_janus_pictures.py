"""Janus: its pictures, its previews, and what it takes."""

import shutil
import threading
import time

import numpy as np
import pytest
import torch
from plain_janus import SIDE, TOKENS, ask

from pipelines.errors import ModelLoadError, RequestError
from pipelines.loading import load_pipeline

CPU = torch.device("cpu")


def test_a_picture_is_that_of_the_processor(engine, spec_of, plain_janus, difference):
    request = ask()
    picture = engine.submit(spec_of("janus"), request).future.result(60)
    assert picture.image.size == (SIDE, SIDE)
    assert difference(picture, np.asarray(plain_janus.picture(request))) <= 1


def test_progress_counts_tokens_and_a_listener_is_shown_them(engine, spec_of, janus, hold_steps):
    gate, told = hold_steps(janus), []
    handle = engine.submit(spec_of("janus"), ask(), on_progress=told.append)
    for _ in range(4):
        gate.await_step()
        gate.let_through()
    give_up_s = time.monotonic() + 30
    while not any(progress.preview for progress in told):
        assert time.monotonic() < give_up_s
        threading.Event().wait(0.001)
    gate.open()
    handle.future.result(60)
    assert (handle.progress.step, handle.progress.steps) == (TOKENS, TOKENS)


def test_a_preview_shows_the_rows_that_are_drawn(janus, plain_janus, difference, monkeypatch):
    monkeypatch.setattr("pipelines.janus._PREVIEW_SHARE", 1.0)
    state = janus.encode(ask())
    assert janus.preview(state) is None
    while not state.is_finished:
        janus.step([state])
        assert janus.preview(state).size == (SIDE, SIDE)
    assert difference(janus.preview(state), np.asarray(plain_janus.picture(ask()))) <= 1


def test_every_image_is_shown_once_and_more_often_only_as_far_as_that_takes_little(janus):
    states = [janus.encode(ask(seed=seed)) for seed in range(2)]
    janus.step(states)
    assert [janus.preview(state) is None for state in (*states, *states)] == [
        *(False, False),
        *(True, True),
    ]
    for state in states:
        janus.release(state)


# -- what it takes ---------------------------------------------------------------------------------


def test_a_prompt_that_is_cut_keeps_what_the_template_says_after_it(janus):
    prompt = janus.prompts.read("x" * 200)
    whole = janus.prompts._tokenize("x" * 200)
    words = janus.prompts._processor.tokenizer
    assert prompt.warnings == (f"prompt: {len(whole)} tokens, the model reads the first 96",)
    assert len(prompt.tokens) == len(prompt.unconditional) == 95
    assert words.decode(prompt.tokens).endswith("xxx\n\n<|Assistant|>:")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"width": 32}, f"width: this model draws {SIDE}x{SIDE} pictures only"),
        ({"steps": 4}, f"steps: this model takes {TOKENS}, one a token"),
        ({"negative_prompt": "blue"}, "negative_prompt: this model takes none"),
        ({"scheduler": "Euler"}, "scheduler: this model takes none"),
    ],
)
def test_what_does_not_apply_is_refused_by_name(changes, text, janus):
    with pytest.raises(RequestError) as caught:
        janus.encode(ask(**changes))
    assert str(caught.value) == text
    assert janus.slots.free == 16


def test_what_a_request_leaves_open_takes_the_entry_s_defaults(spec_of, plain_janus):
    cooler = {"temperature": {"default": 0.7, "max": 1.0}, "top_k": {"default": 9, "max": 64}}
    entry = spec_of("janus")
    pipeline = load_pipeline(type(entry).model_validate({**dict(entry), **cooler}), CPU)
    state = pipeline.encode(ask(temperature=None, top_p=None, top_k=None))
    while not state.is_finished:
        pipeline.step([state])
    assert state.tokens.tolist() == plain_janus.tokens(ask(temperature=0.7, top_k=9))


def test_an_entry_that_promises_other_pictures_is_refused(spec_of):
    entry = spec_of("janus").model_copy(update={"steps": {"default": 576, "max": 576}})
    entry = type(entry).model_validate(dict(entry))
    with pytest.raises(ModelLoadError, match=f"{SIDE}x{SIDE} pictures of {TOKENS} tokens"):
        load_pipeline(entry, CPU)


def test_a_generation_config_that_names_no_marks_is_made_up_for(spec_of, plain_janus, tmp_path):
    """transformers drops what it takes for the configuration's own when a file says so."""
    folder = tmp_path / "model"
    shutil.copytree(spec_of("janus").source, folder)
    (folder / "generation_config.json").write_text('{"_from_model_config": true}')
    pipeline = load_pipeline(spec_of("janus").model_copy(update={"source": str(folder)}), CPU)
    state = pipeline.encode(ask())
    while not state.is_finished:
        pipeline.step([state])
    assert state.tokens.tolist() == plain_janus.tokens(ask())
