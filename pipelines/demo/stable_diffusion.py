"""`shapes-sd` as a whole: how it is trained, put together, saved, read back and drawn with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from transformers import CLIPTextModel, CLIPTokenizer

from pipelines.demo.course import Course, cached
from pipelines.demo.obedience import Painter, measure_on_the_way
from pipelines.demo.recipe import DiffusionRecipe
from pipelines.demo.tokenizer import learn_tokenizer
from pipelines.demo.train_text import train_text
from pipelines.demo.train_unet import build_scheduler, train_unet
from pipelines.demo.train_vae import encode_scenes, sharpen, train_vae
from pipelines.demo.words import vocabulary_captions

#: The weights that come with the repository.
SHIPPED = Path(__file__).with_name("shapes-sd")

_PAINTING_BATCH = 50


def train(recipe: DiffusionRecipe, work: Path) -> tuple[StableDiffusionPipeline, list[Course]]:
    """Every stage in order; those already finished in `work` are read back."""
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    tokenizer = train_tokenizer(recipe)
    encoder, reading = train_text(recipe, tokenizer, work)
    vae, seeing = train_vae(recipe, work)
    sharpening = sharpen(vae, recipe, work)
    latents = cached(work / "latents.pt", lambda: encode_scenes(vae, recipe))

    def on_the_way(unet: UNet2DConditionModel) -> dict[str, float]:
        return measure_on_the_way(painter(assemble(tokenizer, encoder, vae, unet), recipe))

    unet, painting = train_unet(recipe, tokenizer, encoder, latents, work, on_the_way)
    return assemble(tokenizer, encoder, vae, unet), [reading, seeing, sharpening, painting]


def train_tokenizer(recipe: DiffusionRecipe) -> CLIPTokenizer:
    return learn_tokenizer(
        vocabulary_captions(recipe), vocabulary=recipe.vocabulary, max_tokens=recipe.max_tokens
    )


def assemble(
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def painter(pipeline: StableDiffusionPipeline, recipe: DiffusionRecipe) -> Painter:
    """Draws through the plain diffusers pipeline, as a user would."""

    def paint(texts: Sequence[str], seeds: Sequence[int]) -> list[NDArray[np.uint8]]:
        drawn: list[NDArray[np.uint8]] = []
        for first in range(0, len(texts), _PAINTING_BATCH):
            part = slice(first, first + _PAINTING_BATCH)
            images = pipeline(
                list(texts[part]),
                num_inference_steps=recipe.inference_steps,
                guidance_scale=recipe.guidance,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
                output_type="np",
            ).images
            drawn.extend(np.rint(images * 255).astype(np.uint8))
        return drawn

    return paint


def save(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """The pipeline as fp16 safetensors in the layout of diffusers."""
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    # Unless told, transformers loads in the kind it was saved in and diffusers in fp32: the text
    # encoder says fp32 too, or a pipeline loaded plainly would mix the two and fail.
    written = folder / "text_encoder" / "config.json"
    config = json.loads(written.read_text()) | {"dtype": "float32"}
    written.write_text(json.dumps(config, indent=2) + "\n")


def load(folder: Path) -> StableDiffusionPipeline:
    """What `save` saved, in fp32, from this folder alone."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
