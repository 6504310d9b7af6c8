"""`shapes-janus` as a whole: how it is trained, put together, saved, read back and drawn with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    GenerationConfig,
    JanusConfig,
    JanusForConditionalGeneration,
    JanusProcessor,
    JanusVisionConfig,
    LlamaConfig,
    PreTrainedTokenizerBase,
)
from transformers.models.janus.modeling_janus import JanusVQVAE

from pipelines.demo.course import Course, cached
from pipelines.demo.obedience import Painter, Wear, measure_on_the_way
from pipelines.demo.pictures import drawn
from pipelines.demo.processor import learn_processor, prompt_tokens
from pipelines.demo.recipe import JanusRecipe
from pipelines.demo.train_backbone import train_backbone
from pipelines.demo.train_vq import build_vq, picture_tokens, train_codes, train_decoder
from pipelines.demo.words import vocabulary_captions

#: The weights that come with the repository.
SHIPPED = Path(__file__).with_name("shapes-janus")

_PAINTING_BATCH = 50


@dataclass(frozen=True, slots=True)
class Janus:
    """The model, and the processor that knows its words."""

    model: JanusForConditionalGeneration
    processor: JanusProcessor


def train(recipe: JanusRecipe, work: Path) -> tuple[Janus, list[Course]]:
    """Every stage in order; those already finished in `work` are read back."""
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    processor = learn_processor(vocabulary_captions(recipe), recipe)
    seen = cached(work / "pictures.pt", lambda: drawn(recipe, range(recipe.scenes)))
    vq = build_vq(recipe)
    coding = train_codes(vq, recipe, seen, work)
    tokens = cached(work / "tokens.pt", lambda: picture_tokens(vq, seen))
    decoding = train_decoder(vq, recipe, seen, tokens, work)
    whole = Janus(build(recipe, processor.tokenizer, vq), processor)

    def on_the_way() -> dict[str, float]:
        return measure_on_the_way(painter(whole))

    writing = train_backbone(recipe, processor, whole.model, tokens, work, on_the_way)
    return whole, [coding, decoding, writing]


def build(
    recipe: JanusRecipe, tokenizer: PreTrainedTokenizerBase, vq: JanusVQVAE
) -> JanusForConditionalGeneration:
    """A Janus with fresh weights around a trained `vq`, that knows how it is meant to be run."""
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    backbone = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.mlp,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=recipe.max_tokens + recipe.grid**2,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        **special,
    )
    config = JanusConfig(
        text_config=backbone,
        vision_config=_least_vision(recipe),
        vq_config=vq.config,
        image_token_id=tokenizer.image_token_id,
    )
    janus = JanusForConditionalGeneration(config)
    janus.model.vqmodel.load_state_dict(vq.state_dict())
    janus.model.generation_embeddings.load_state_dict(vq.quantize.embedding.state_dict())
    janus.generation_config = GenerationConfig(
        do_sample=True,
        temperature=recipe.temperature,
        top_k=recipe.top_k,
        top_p=recipe.top_p,
        guidance_scale=recipe.guidance,
        generation_kwargs={"boi_token_id": tokenizer.boi_token_id},
        **special,
    )
    return janus.to(recipe.device).eval()


def _least_vision(recipe: JanusRecipe) -> JanusVisionConfig:
    """The tower that looks at given pictures: the class must have one, drawing never asks it."""
    return JanusVisionConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        mlp_ratio=1.0,
        image_size=recipe.picture,
        patch_size=recipe.picture // recipe.grid,
        num_image_tokens=recipe.grid**2,
        projection_dim=recipe.width,
        depth=1,
    )


def painter(janus: Janus) -> Painter:
    """Draws through transformers' own `generate`, as a user would, with the model's settings.

    `generate` draws a batch's chance from one generator: the seed is that of the batch's first.
    """

    def paint(texts: Sequence[str], seeds: Sequence[int]) -> list[NDArray[np.uint8]]:
        drawn: list[NDArray[np.uint8]] = []
        for first in range(0, len(texts), _PAINTING_BATCH):
            prompts = prompt_tokens(janus.processor, texts[first : first + _PAINTING_BATCH])
            with torch.random.fork_rng():
                torch.manual_seed(seeds[first])
                tokens = janus.model.generate(
                    **prompts.to(janus.model.device), generation_mode="image"
                )
            drawn.extend(pixels(janus.model.decode_image_tokens(tokens)))
        return drawn

    return paint


def tokenised(janus: Janus) -> Wear:
    """Turns a picture into tokens and those into a picture again."""
    vq = janus.model.model.vqmodel

    def through_tokens(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        seen = torch.from_numpy(picture).permute(2, 0, 1)[None]
        return pixels(janus.model.decode_image_tokens(picture_tokens(vq, seen)))[0]

    return through_tokens


def pixels(drawn: Tensor) -> NDArray[np.uint8]:
    """Decoded pictures, -1 to 1, as bytes of the same shape."""
    return ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy(force=True)


def save(janus: Janus, folder: Path) -> None:
    """All that `from_pretrained` reads, the weights as fp16 safetensors."""
    janus.model.half().save_pretrained(folder)
    janus.model.float()
    janus.processor.save_pretrained(folder)
    # transformers loads in the kind that the config names, and on a CPU that is to be fp32.
    written = folder / "config.json"
    written.write_text(written.read_text().replace('"float16"', '"float32"'))


def load(folder: Path) -> Janus:
    """What `save` saved, in fp32, from this folder alone."""
    return Janus(
        JanusForConditionalGeneration.from_pretrained(folder, local_files_only=True),
        JanusProcessor.from_pretrained(folder, local_files_only=True),
    )
