"""Stage three: the denoiser, on latents made once and captions worded anew at each draw."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from pipelines.demo.captions import caption, distracted
from pipelines.demo.course import Course, blend, generator
from pipelines.demo.recipe import DiffusionRecipe
from pipelines.demo.scenes import training_scene
from pipelines.demo.train_text import tokens_of

log = logging.getLogger(__name__)

MEASURE_EVERY_STEPS = 1000


def build_unet(recipe: DiffusionRecipe) -> UNet2DConditionModel:
    levels = len(recipe.unet_channels)
    unet = UNet2DConditionModel(
        sample_size=recipe.picture // 2 ** (len(recipe.vae_channels) - 1),
        in_channels=recipe.latent_channels,
        out_channels=recipe.latent_channels,
        block_out_channels=recipe.unet_channels,
        layers_per_block=recipe.unet_layers,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
        cross_attention_dim=recipe.text_width,
        attention_head_dim=recipe.unet_heads,
        norm_num_groups=recipe.unet_groups,
    )
    return unet.to(recipe.device, memory_format=torch.channels_last)


def build_scheduler() -> DDIMScheduler:
    """Zero terminal SNR, v-prediction, trailing timesteps (Lin et al., arXiv 2305.08891).

    Without them a sampler never starts from pure noise, and flat grounds drift to grey.
    """
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        rescale_betas_zero_snr=True,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def train_unet(
    recipe: DiffusionRecipe,
    tokenizer: CLIPTokenizer,
    encoder: CLIPTextModel,
    latents: Tensor,
    folder: Path,
    measure: Callable[[UNet2DConditionModel], dict[str, float]],
) -> tuple[UNet2DConditionModel, Course]:
    """The average of the UNet's weights, trained on from `folder`.

    `latents` are `(scenes, channels, height, width)`, mean 0 and deviation 1 per channel.
    """
    unet = build_unet(recipe)
    average = copy.deepcopy(unet).eval().requires_grad_(False)
    course = Course(folder / "unet.pt", unet, recipe.unet)
    course.parts["average"] = average
    course.restore()
    scheduler = build_scheduler()

    def batch_at(step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        chance = generator(recipe.seed, step)
        picked = torch.randint(len(latents), (recipe.unet.batch,), generator=chance)
        clean = latents[picked]
        noise = torch.randn(clean.shape, generator=chance)
        even = torch.rand(recipe.unet.batch, generator=chance)
        times = (even**recipe.noise_bias * len(scheduler.betas)).long()
        return clean, noise, times, tokens_of(tokenizer, _texts(recipe, picked.tolist(), step))

    def loss_of(clean: Tensor, noise: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
        noisy = scheduler.add_noise(clean, noise, times)
        target = scheduler.get_velocity(clean, noise, times)
        with torch.no_grad():
            words = encoder(tokens).last_hidden_state
        with torch.autocast(clean.device.type, torch.bfloat16, cache_enabled=False):
            noisy = noisy.contiguous(memory_format=torch.channels_last)
            velocity = unet(noisy, times, words).sample
        return nn.functional.mse_loss(velocity.float(), target)

    def after_step(step: int) -> None:
        blend(average, unet, step, recipe.unet_average)
        if step % MEASURE_EVERY_STEPS == 0 and step < recipe.unet.steps:
            course.marks.append((step, measure(average)))
            log.info("unet: step %d obeys %s", *course.marks[-1])

    course.run(batch_at, loss_of, after_step)
    return average, course


def _texts(recipe: DiffusionRecipe, indices: list[int], step: int) -> list[str]:
    rng = np.random.default_rng((recipe.seed, 2, step))
    return [_text(recipe, index, rng) for index in indices]


def _text(recipe: DiffusionRecipe, index: int, rng: np.random.Generator) -> str:
    if rng.random() < recipe.empty_share:
        return ""
    scene = training_scene(recipe.seed, index, alone_share=recipe.alone_share)
    text = caption(scene, rng).text
    return distracted(text, rng) if rng.random() < recipe.distracted_share else text
