"""The folder that ships: plain diffusers, half precision, small, and nothing that can run code."""

import pytest
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from transformers import CLIPTokenizer

from pipelines.demo.obedience import pair_prompts, single_prompts
from pipelines.demo.stable_diffusion import SHIPPED

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(SHIPPED / "tokenizer", local_files_only=True)


def test_plain_diffusers_loads_the_folder() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(SHIPPED, local_files_only=True)
    assert pipeline.unet.config.in_channels == pipeline.vae.config.latent_channels
    assert pipeline.scheduler.config.prediction_type == "v_prediction"


def test_the_weights_are_half_precision_and_small() -> None:
    files = list(SHIPPED.rglob("*.safetensors"))
    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) <= 12 * MEGABYTE
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            kinds = {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
        assert kinds == {"F16"}


def test_nothing_in_the_folder_can_run_code() -> None:
    kinds = {file.suffix for file in SHIPPED.rglob("*") if file.is_file()}
    assert kinds <= {".safetensors", ".json", ".txt", ".md"}


def test_every_word_that_captions_use_is_one_token(tokenizer: CLIPTokenizer) -> None:
    for prompt in single_prompts(200) + pair_prompts(200):
        tokens = tokenizer.tokenize(prompt.caption.text)
        assert all(token.endswith("</w>") for token in tokens), prompt.caption.text


def test_a_caption_fits_and_an_unknown_word_does_not_end_it(tokenizer: CLIPTokenizer) -> None:
    for prompt in pair_prompts(200):
        assert len(tokenizer(prompt.caption.text).input_ids) <= tokenizer.model_max_length
    ids = tokenizer("a qwxz red Ünïcode ✨ circle").input_ids
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id
