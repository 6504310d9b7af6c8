"""The training of shapes-janus really trains, and a kill costs nothing but time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import SHAPES_JANUS, Killed, few, kill_at, same, save_and_measure_often, weights
from torch.nn.functional import normalize

from pipelines.demo import course, janus
from pipelines.demo.codebook import Codebook
from pipelines.demo.course import generator
from pipelines.demo.pictures import as_floats, drawn
from pipelines.demo.processor import learn_processor, prompt_tokens
from pipelines.demo.recipe import JanusRecipe, Schedule
from pipelines.demo.train_backbone import Writer, without_words
from pipelines.demo.train_vq import build_vq, cutouts, picture_tokens, train_codes
from pipelines.demo.words import vocabulary_captions

#: Of unlike lengths, so that one is padded.
PROMPTS = ["a red circle", "a small blue ring on a white ground"]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    save_and_measure_often(monkeypatch)


@pytest.fixture(scope="module")
def fresh() -> janus.Janus:
    torch.manual_seed(0)
    processor = learn_processor(vocabulary_captions(SHAPES_JANUS), SHAPES_JANUS)
    vq = build_vq(SHAPES_JANUS)
    return janus.Janus(janus.build(SHAPES_JANUS, processor.tokenizer, vq), processor)


@pytest.mark.parametrize(
    ("stage", "step"), [("codes", 3), ("token-decoder", 2), ("backbone", 0), ("backbone", 3)]
)
def test_a_killed_training_goes_on_to_the_same_weights(
    stage: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = janus.train(SHAPES_JANUS, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_at(step, stage, patch)
        with pytest.raises(Killed):
            janus.train(SHAPES_JANUS, tmp_path / "killed")
    resumed, courses = janus.train(SHAPES_JANUS, tmp_path / "killed")
    assert [course.step for course in courses] == [4, 4, 4]
    assert same(weights(whole.model.model.vqmodel), weights(resumed.model.model.vqmodel))
    if step > 0 and stage == "backbone":  # One that had not begun draws its first weights anew.
        trained = whole.model.model.language_model, resumed.model.model.language_model
        assert same(*map(weights, trained))


def test_what_is_saved_is_what_was_trained_in_half_precision(tmp_path: Path) -> None:
    trained, courses = janus.train(SHAPES_JANUS, tmp_path)
    before = weights(trained.model)
    janus.save(trained, tmp_path / "saved")
    after = weights(janus.load(tmp_path / "saved").model)
    assert same({name: weight.half().float() for name, weight in before.items()}, after)
    assert courses[-1].marks[0][1].keys() >= {"colour", "ground", "shape"}


def test_learning_codes_lowers_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "LOG_EVERY_STEPS", 10)
    recipe = JanusRecipe(
        number_of_codes=32,
        sketch_channels=32,
        revive_every=5,
        codes=Schedule(steps=60, batch=8, peak_rate=3e-3, warmup=5),
    )
    seen = drawn(recipe, range(64))
    learnt = train_codes(build_vq(recipe), recipe, seen, tmp_path)
    assert learnt.losses[-1][1] < 0.8 * learnt.losses[0][1]


def test_a_code_moves_to_the_middle_of_what_it_stands_for() -> None:
    recipe = JanusRecipe(number_of_codes=2, code_width=2, code_memory=0.0, codes=few(1))
    codes = torch.nn.Embedding(2, 2, _weight=torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    codebook = Codebook(codes, recipe)
    vectors = normalize(torch.tensor([[0.9, 0.1], [0.8, 0.4], [0.1, 0.9]]), dim=1)
    rounded = codebook(vectors)
    assert torch.allclose(rounded, torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    codebook.settle(1)
    middles = normalize(torch.stack([vectors[:2].sum(0), vectors[2]]), dim=1)
    assert torch.allclose(codes.weight, middles)


def test_a_dead_code_moves_where_it_is_missed_most() -> None:
    recipe = JanusRecipe(
        number_of_codes=2, code_width=2, code_memory=0.0, revive_every=1, codes=few(10)
    )
    codes = torch.nn.Embedding(2, 2, _weight=torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    codebook = Codebook(codes, recipe)
    codebook(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    codebook.settle(1)
    assert torch.allclose(codes.weight[1], torch.tensor([0.0, 1.0]))


def test_the_codes_that_training_rounds_to_are_those_that_transformers_finds() -> None:
    vq = build_vq(SHAPES_JANUS).eval()
    codebook = Codebook(vq.quantize.embedding, SHAPES_JANUS)
    seen = drawn(SHAPES_JANUS, range(8))
    tokens = picture_tokens(vq, seen)

    with torch.no_grad():
        latents = vq.quant_conv(vq.encoder(as_floats(seen))).permute(0, 2, 3, 1)
        rounded = codebook(normalize(latents, dim=-1).flatten(0, 2))
    assert torch.allclose(rounded, vq.quantize.embedding(tokens.flatten()), atol=1e-5)


def test_a_cutout_of_a_picture_is_drawn_from_the_cutout_of_its_codes() -> None:
    codes = torch.arange(64).view(1, 1, 8, 8)
    whole = codes.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    for step in range(10):
        part, few_codes = cutouts(whole, codes, 4, generator(0, step))
        assert part.shape == (1, 1, 32, 32)
        assert torch.equal(part[:, :, ::8, ::8], few_codes)


def test_the_prompt_without_words_is_the_one_that_generate_guides_away_from(
    fresh: janus.Janus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`generate` embeds both halves of the batch at once, first the prompts, then those."""
    prompts = prompt_tokens(
        fresh.processor, ["a red circle", "a small blue ring on a white ground"]
    )
    embedded: list[torch.Tensor] = []
    embed = fresh.model.get_input_embeddings()

    def listening(ids: torch.Tensor) -> torch.Tensor:
        embedded.append(ids)
        return embed(ids)

    monkeypatch.setattr(fresh.model, "get_input_embeddings", lambda: listening)
    fresh.model.generate(**prompts, generation_mode="image")
    assert torch.equal(embedded[0][:2], prompts.input_ids)
    assert torch.equal(embedded[0][2:], without_words(fresh.processor, prompts.input_ids))


def test_training_scores_a_token_as_generate_does(fresh: janus.Janus) -> None:
    """Teacher-forced greedy tokens are the tokens that greedy `generate` draws."""
    prompts = prompt_tokens(
        fresh.processor, ["a red circle", "a small blue ring on a white ground"]
    )
    tokens = fresh.model.generate(
        **prompts, generation_mode="image", do_sample=False, guidance_scale=1.0 + 1e-6
    )
    writer = Writer(fresh.model, SHAPES_JANUS).eval()
    with torch.no_grad():
        scores, _ = writer(prompts.input_ids, prompts.attention_mask, tokens)
    assert torch.equal(scores.argmax(1), tokens)


def test_a_picture_survives_its_bytes() -> None:
    seen = drawn(SHAPES_JANUS, range(2))
    again = janus.pixels(seen.permute(0, 2, 3, 1).float() / 127.5 - 1)
    assert np.array_equal(again, seen.permute(0, 2, 3, 1).numpy())
