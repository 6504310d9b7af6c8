"""Stage one: pictures to latents and back."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from pipelines.demo.course import Course, generator
from pipelines.demo.pictures import cutout, difference, pictures
from pipelines.demo.recipe import DiffusionRecipe

#: Scenes that latents are measured on to bring them to mean 0 and deviation 1.
_MEASURED_SCENES = 2048
_ENCODING_BATCH = 64


def build_vae(recipe: DiffusionRecipe) -> AutoencoderKL:
    levels = len(recipe.vae_channels)
    vae = AutoencoderKL(
        block_out_channels=recipe.vae_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=recipe.latent_channels,
        layers_per_block=1,
        norm_num_groups=recipe.vae_groups,
        sample_size=recipe.picture,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    # The encoder starts out sure of its latents (deviation exp(-3)), or their noise would hide
    # the little that they say at first.
    nn.init.constant_(vae.quant_conv.bias[recipe.latent_channels :], -6.0)
    return vae.to(recipe.device, memory_format=torch.channels_last)


def train_vae(recipe: DiffusionRecipe, folder: Path) -> tuple[AutoencoderKL, Course]:
    """The VAE, trained on from `folder`, its latents normalised per channel."""
    vae = build_vae(recipe)
    course = Course(folder / "vae.pt", vae, recipe.vae)
    course.restore()

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        chance = generator(recipe.seed, step)
        real = _next_pictures(recipe, step, recipe.vae.batch)
        if step < recipe.vae_cutout_share * recipe.vae.steps:
            real = cutout(real, recipe.vae_cutout, chance)
        return real, _latent_noise(recipe, real, chance)

    def loss_of(real: Tensor, noise: Tensor) -> Tensor:
        real = real.contiguous(memory_format=torch.channels_last)
        with torch.autocast(real.device.type, torch.bfloat16, cache_enabled=False):
            posterior = vae.encode(real).latent_dist
            drawn = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = 0.5 * (posterior.mean.float().square() + posterior.var - 1 - posterior.logvar).mean()
        return difference(drawn, real) + recipe.kl_weight * kl

    course.run(batch_at, loss_of)
    vae.eval()
    normalise_latents(vae, pictures(recipe, range(min(_MEASURED_SCENES, recipe.scenes))))
    return vae, course


def sharpen(vae: AutoencoderKL, recipe: DiffusionRecipe, folder: Path) -> Course:
    """Trains the decoder on, with the encoder and so the latents as they are.

    The UNet can therefore be trained before, after or beside it.
    """
    half = nn.ModuleList([vae.post_quant_conv, vae.decoder])
    course = Course(folder / "decoder.pt", half, recipe.decoder)
    course.restore()

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        real = _next_pictures(recipe, recipe.vae.steps + step, recipe.decoder.batch)
        return real, _latent_noise(recipe, real, generator(recipe.seed + 1, step))

    def loss_of(real: Tensor, noise: Tensor) -> Tensor:
        real = real.contiguous(memory_format=torch.channels_last)
        with torch.autocast(real.device.type, torch.bfloat16, cache_enabled=False):
            with torch.no_grad():
                posterior = vae.encode(real).latent_dist
                latents = posterior.mean + posterior.std * noise
            drawn = vae.decode(latents).sample
        return difference(drawn, real)

    course.run(batch_at, loss_of)
    return course


def _next_pictures(recipe: DiffusionRecipe, step: int, batch: int) -> Tensor:
    return pictures(recipe, range(step * batch, (step + 1) * batch))


def _latent_noise(recipe: DiffusionRecipe, real: Tensor, chance: torch.Generator) -> Tensor:
    side = real.shape[-1] // 2 ** (len(recipe.vae_channels) - 1)
    return torch.randn(len(real), recipe.latent_channels, side, side, generator=chance)


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, seen: Tensor) -> None:
    """Folds each latent channel's mean and deviation over `seen` into the VAE's 1x1 convolutions.

    Diffusion then starts from noise of the latents' own mean and scale, and the plain
    pipeline's single `scaling_factor` stays 1.
    """
    latents = encode(vae, seen)
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    into, out_of = vae.quant_conv, vae.post_quant_conv
    channels = len(mean)
    out_of.bias += out_of.weight[:, :, 0, 0] @ mean
    out_of.weight *= deviation[None, :, None, None]
    into.weight[:channels] /= deviation[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / deviation
    into.bias[channels:] -= 2 * deviation.log()


@torch.no_grad()
def encode(vae: AutoencoderKL, seen: Tensor) -> Tensor:
    """The most likely latents of pictures, `(n, channels, size/8, size/8)`."""
    batches = (
        part.to(vae.device, memory_format=torch.channels_last)
        for part in seen.split(_ENCODING_BATCH)
    )
    return torch.cat([vae.encode(batch).latent_dist.mode().contiguous() for batch in batches])


def encode_scenes(vae: AutoencoderKL, recipe: DiffusionRecipe) -> Tensor:
    """Latents of all training scenes, in the stream's order."""
    parts = (
        encode(vae, pictures(recipe, range(first, min(first + 512, recipe.scenes))))
        for first in range(0, recipe.scenes, 512)
    )
    return torch.cat([part.cpu() for part in parts])
