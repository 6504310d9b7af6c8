"""The folder that ships: plain transformers, half precision, small, nothing that can run code."""

import pytest
import torch
from safetensors import safe_open
from transformers import JanusForConditionalGeneration, JanusProcessor

from pipelines.demo import janus
from pipelines.demo.judge import look
from pipelines.demo.obedience import judge_accuracy, pair_prompts, single_prompts
from pipelines.demo.processor import prompt_tokens

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def shipped() -> janus.Janus:
    return janus.load(janus.SHIPPED)


def test_plain_transformers_draws_from_the_folder() -> None:
    model = JanusForConditionalGeneration.from_pretrained(janus.SHIPPED, local_files_only=True)
    processor = JanusProcessor.from_pretrained(janus.SHIPPED, local_files_only=True)
    assert model.dtype == torch.float32
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "text", "text": "a red circle on a white ground"}]}],
        add_generation_prompt=True,
        tokenize=False,
    )
    inputs = processor(text=prompt, generation_mode="image", return_tensors="pt")
    torch.manual_seed(0)
    tokens = model.generate(**inputs, generation_mode="image")
    assert tokens.shape == (1, model.model.vision_model.config.num_image_tokens)
    assert model.decode_image_tokens(tokens).shape == (1, 64, 64, 3)


def test_the_folder_is_small_and_its_weights_are_half_precision() -> None:
    files = [file for file in janus.SHIPPED.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 12 * MEGABYTE
    (weights,) = (file for file in files if file.suffix == ".safetensors")
    with safe_open(weights, framework="pt") as tensors:
        kinds = {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
    assert kinds == {"F16"}


def test_nothing_in_the_folder_can_run_code() -> None:
    kinds = {file.suffix for file in janus.SHIPPED.rglob("*") if file.is_file()}
    assert kinds <= {".safetensors", ".json", ".jinja", ".md"}


def test_it_obeys(shipped: janus.Janus) -> None:
    prompts = {
        "a red circle on a blue background": ("circle", "red", "blue"),
        "a green triangle on a white background": ("triangle", "green", "white"),
        "black background, a large yellow square": ("square", "yellow", "black"),
        "a pink cross in the top left corner on a cyan ground": ("cross", "pink", "cyan"),
    }
    pictures = janus.painter(shipped)(list(prompts), list(range(len(prompts))))
    for (shape, colour, ground), picture in zip(prompts.values(), pictures, strict=True):
        verdict = look(picture)
        (seen,) = verdict.things
        assert (seen.shape, seen.colour, verdict.ground) == (shape, colour, ground)


def test_a_picture_turned_to_tokens_and_back_is_still_what_it_was(shipped: janus.Janus) -> None:
    assert judge_accuracy(janus.tokenised(shipped), count=100) >= 0.8


def test_every_word_that_captions_use_is_one_token(shipped: janus.Janus) -> None:
    for prompt in single_prompts(200) + pair_prompts(200):
        tokens = shipped.processor.tokenizer.tokenize(prompt.caption.text)
        assert all(token.endswith("</w>") for token in tokens), prompt.caption.text


def test_a_prompt_ends_where_the_picture_begins_whatever_its_words(shipped: janus.Janus) -> None:
    tokenizer = shipped.processor.tokenizer
    for text in ("", "a qwxz red Ünïcode ✨ circle", "A RED CIRCLE"):
        ids = prompt_tokens(shipped.processor, [text]).input_ids[0].tolist()
        assert ids[0] == tokenizer.bos_token_id
        assert ids.index(tokenizer.boi_token_id) == len(ids) - 1
        assert tokenizer.pad_token_id not in ids
