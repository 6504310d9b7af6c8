"""Trains the demo model from nothing: `python -m pipelines.demo.train`.

Tokenizer, text encoder, VAE, latents, UNet, then the weights and the report. Killed and
started again, it goes on where it was. Delete the work folder to start over.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from pipelines.demo.captions import caption
from pipelines.demo.course import Course
from pipelines.demo.obedience import (
    Painter,
    measure,
    pair_prompts,
    score_pair,
    score_single,
    single_prompts,
)
from pipelines.demo.recipe import Recipe
from pipelines.demo.report import write_report
from pipelines.demo.scenes import training_scene
from pipelines.demo.tokenizer import learn_tokenizer
from pipelines.demo.train_text import train_text
from pipelines.demo.train_unet import build_scheduler, train_unet
from pipelines.demo.train_vae import encode_scenes, sharpen, train_vae

log = logging.getLogger(__name__)

#: The weights that come with the repository.
SHIPPED = Path(__file__).with_name("shapes-sd")

_TOKENIZER_CAPTIONS = 5000
_PAINTING_BATCH = 50
_MEASURED_ON_THE_WAY = 48


def train(recipe: Recipe, work: Path) -> tuple[StableDiffusionPipeline, list[Course]]:
    """Every stage in order; those already finished in `work` are read back."""
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    tokenizer = train_tokenizer(recipe)
    encoder, reading = train_text(recipe, tokenizer, work)
    vae, seeing = train_vae(recipe, work)
    sharpening = sharpen(vae, recipe, work)
    latents = cached_latents(vae, recipe, work / "latents.pt")

    def on_the_way(unet: UNet2DConditionModel) -> dict[str, float]:
        paint = painter(assemble(tokenizer, encoder, vae, unet), recipe)
        return measure(paint, single_prompts(_MEASURED_ON_THE_WAY), score_single) | {
            f"two {name}": share
            for name, share in measure(
                paint, pair_prompts(_MEASURED_ON_THE_WAY // 2), score_pair
            ).items()
        }

    unet, painting = train_unet(recipe, tokenizer, encoder, latents, work, on_the_way)
    return assemble(tokenizer, encoder, vae, unet), [reading, seeing, sharpening, painting]


def train_tokenizer(recipe: Recipe) -> CLIPTokenizer:
    rng = np.random.default_rng((recipe.seed, 3))
    scenes = (
        training_scene(recipe.seed, i, alone_share=recipe.alone_share)
        for i in range(_TOKENIZER_CAPTIONS)
    )
    return learn_tokenizer(
        (caption(scene, rng).text for scene in scenes),
        vocabulary=recipe.vocabulary,
        max_tokens=recipe.max_tokens,
    )


def cached_latents(vae: AutoencoderKL, recipe: Recipe, path: Path) -> Tensor:
    """Latents of every training scene, encoded once."""
    if not path.exists():
        log.info("latents: encoding %d scenes", recipe.scenes)
        torch.save(encode_scenes(vae, recipe), path)
    latents: Tensor = torch.load(path, weights_only=True)
    return latents


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


def painter(pipeline: StableDiffusionPipeline, recipe: Recipe) -> Painter:
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


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--work", type=Path, default=Path("var/train-demo"))
    arguments.add_argument("--out", type=Path, default=SHIPPED)
    arguments.add_argument("--docs", type=Path, default=Path("docs"))
    arguments.add_argument("--unet-steps", type=int, help="end the last stage sooner or later")
    chosen = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = Recipe()
    if chosen.unet_steps:
        recipe = replace(recipe, unet=replace(recipe.unet, steps=chosen.unet_steps))
    pipeline, courses = train(recipe, chosen.work)
    save(pipeline, chosen.out)
    write_report(painter(load(chosen.out), recipe), courses, chosen.docs)


if __name__ == "__main__":
    main()
