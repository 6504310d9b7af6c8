"""Janus, stage one: pictures to tokens and back, with the networks of transformers' `JanusVQVAE`.

First the codes, with a quick decoder that is then dropped; then the decoder, from settled codes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import JanusVQVAEConfig
from transformers.models.janus.modeling_janus import JanusVQVAE

from pipelines.demo.codebook import Codebook
from pipelines.demo.course import Course, generator
from pipelines.demo.pictures import as_floats, difference
from pipelines.demo.recipe import JanusRecipe

_ENCODING_BATCH = 64


def build_vq(recipe: JanusRecipe) -> JanusVQVAE:
    vq = JanusVQVAE(
        JanusVQVAEConfig(
            embed_dim=recipe.code_width,
            num_embeddings=recipe.number_of_codes,
            latent_channels=recipe.vq_channels,
            base_channels=recipe.vq_channels,
            channel_multiplier=recipe.vq_multiplier,
            num_res_blocks=recipe.vq_blocks,
            num_patches=recipe.grid,
            projection_dim=recipe.width,
            image_token_embed_dim=recipe.width,
            num_hidden_layers=recipe.aligner_layers,
        )
    )
    return vq.to(recipe.device, memory_format=torch.channels_last)


class Sketcher(nn.Module):
    """A quick decoder to learn the codes with: it never leaves the grid's width, so it takes a
    tenth of the decoder's time."""

    def __init__(self, recipe: JanusRecipe) -> None:
        super().__init__()
        width, cell = recipe.sketch_channels, recipe.picture // recipe.grid
        self.layers = nn.Sequential(
            nn.Conv2d(recipe.code_width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 3 * cell**2, 1),
            nn.PixelShuffle(cell),
        )

    def forward(self, codes: Tensor) -> Tensor:
        return self.layers(codes)


def train_codes(vq: JanusVQVAE, recipe: JanusRecipe, seen: Tensor, folder: Path) -> Course:
    """Trains the encoder and the codebook on from `folder`, on the pictures `seen`."""
    sketcher = Sketcher(recipe).to(recipe.device)
    codebook = Codebook(vq.quantize.embedding, recipe)
    half = nn.ModuleList([vq.encoder, vq.quant_conv, vq.quantize, sketcher])
    course = Course(folder / "codes.pt", half, recipe.codes)
    course.parts["codebook"] = codebook
    course.restore()

    def batch_at(step: int) -> tuple[Tensor]:
        chance = generator(recipe.seed, step)
        return (seen[torch.randint(len(seen), (recipe.codes.batch,), generator=chance)],)

    def loss_of(bytes_: Tensor) -> Tensor:
        real = as_floats(bytes_)
        with _half_precision(real):
            latents = vq.quant_conv(vq.encoder(real))
        # In fp32, for a thousand codes lie too close together for bf16.
        vectors = normalize(latents.float().permute(0, 2, 3, 1), dim=-1)
        codes = codebook(vectors.flatten(0, 2)).view_as(vectors)
        with _half_precision(real):
            drawn = sketcher(codes.permute(0, 3, 1, 2))
        commitment = (vectors - codes.detach()).square().sum(-1).mean()
        return difference(drawn, real) + recipe.commitment * commitment

    course.run(batch_at, loss_of, codebook.settle)
    return course


def train_decoder(
    vq: JanusVQVAE, recipe: JanusRecipe, seen: Tensor, tokens: Tensor, folder: Path
) -> Course:
    """Trains the decoder on from `folder`, to draw the pictures `seen` from their `tokens`.

    The language model needs the tokens only, so it can be trained before, after or beside it.
    """
    half = nn.ModuleList([vq.post_quant_conv, vq.decoder])
    course = Course(folder / "token-decoder.pt", half, recipe.decoder)
    course.restore()

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        chance = generator(recipe.seed + 1, step)
        picked = torch.randint(len(seen), (recipe.decoder.batch,), generator=chance)
        real, numbers = seen[picked], tokens[picked].to(vq.device)
        codes = vq.quantize.get_codebook_entry(numbers).detach()
        if step < recipe.decoder_cutout_share * recipe.decoder.steps:
            return cutouts(real, codes, recipe.decoder_cutout, chance)
        return real, codes

    def loss_of(bytes_: Tensor, codes: Tensor) -> Tensor:
        with _half_precision(bytes_):
            drawn = vq.decoder(vq.post_quant_conv(codes))
        return difference(drawn, as_floats(bytes_))

    course.run(batch_at, loss_of)
    return course


def cutouts(
    real: Tensor, codes: Tensor, width: int, chance: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One random square of pictures and the `width` x `width` codes that it is drawn from."""
    cell = real.shape[-1] // codes.shape[-1]
    down, right = torch.randint(codes.shape[-1] - width + 1, (2,), generator=chance).tolist()
    few = codes[:, :, down : down + width, right : right + width]
    top, left, side = down * cell, right * cell, width * cell
    return real[:, :, top : top + side, left : left + side], few


def _half_precision(where: Tensor) -> torch.autocast:
    return torch.autocast(where.device.type, torch.bfloat16, cache_enabled=False)


@torch.no_grad()
def picture_tokens(vq: JanusVQVAE, seen: Tensor) -> Tensor:
    """The tokens of pictures, `(n, grid * grid)`, row by row."""
    parts = [
        vq.encode(as_floats(part.to(vq.device))).image_tokens.cpu()
        for part in seen.split(_ENCODING_BATCH)
    ]
    return torch.cat(parts).view(len(seen), -1)
