"""Janus, stage one: pictures to tokens and back.

The networks are those of transformers' `JanusVQVAE`. Its decoder scales every code to length 1,
so codes live on the unit sphere here from the start, where the nearest code is the one at the
smallest angle whatever the length of the encoder's vector.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import torch
from torch import Tensor, nn
from transformers import JanusVQVAEConfig
from transformers.models.janus.modeling_janus import JanusVQVAE

from pipelines.demo.course import Course, generator
from pipelines.demo.pictures import as_floats, difference
from pipelines.demo.recipe import JanusRecipe

_ENCODING_BATCH = 64


class Codebook(nn.Module):
    """Moves the codes to the means of the vectors nearest to them, and dead codes to new places.

    Running means instead of gradients, as in the appendix of VQ-VAE (arXiv 1711.00937).
    """

    sizes: Tensor
    sums: Tensor

    def __init__(self, codes: nn.Embedding, recipe: JanusRecipe) -> None:
        super().__init__()
        self.codes = codes.requires_grad_(False)
        self.recipe = recipe
        with torch.no_grad():
            codes.weight.copy_(nn.functional.normalize(codes.weight, dim=1))
        #: Of each code, how many of a step's vectors are nearest to it, and the sum of those.
        self.register_buffer("sizes", torch.ones(codes.num_embeddings, device=codes.weight.device))
        self.register_buffer("sums", codes.weight.clone())
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._lock = Lock()

    def forward(self, vectors: Tensor) -> Tensor:
        """Unit vectors `(n, dim)` to their codes; the gradient passes straight through."""
        numbers = (vectors.detach() @ self.codes.weight.T).argmax(1)
        with self._lock:
            self._seen.append((vectors.detach(), numbers))
        return vectors + (self.codes.weight[numbers] - vectors).detach()

    @torch.no_grad()
    def settle(self, step: int) -> None:
        """Takes in what was seen since the last call."""
        for buffer, change in ((self.sizes, self._counted()), (self.sums, self._summed())):
            buffer.lerp_(change, 1 - self.recipe.code_memory)
        if self.recipe.revives(step):
            self._revive(step)
        self._seen.clear()
        self.codes.weight.copy_(nn.functional.normalize(self.sums, dim=1))

    def _counted(self) -> Tensor:
        return sum(
            (numbers.bincount(minlength=len(self.sizes)).float() for _, numbers in self._seen),
            torch.zeros_like(self.sizes),
        )

    def _summed(self) -> Tensor:
        return sum(
            (torch.zeros_like(self.sums).index_add_(0, numbers, v) for v, numbers in self._seen),
            torch.zeros_like(self.sums),
        )

    def _revive(self, step: int) -> None:
        """Puts codes that are hardly used where a code is missed most."""
        dead = self.sizes < self.recipe.code_least
        vectors = torch.cat([seen for seen, _ in self._seen])
        codes = torch.cat([self.codes.weight[numbers] for _, numbers in self._seen])
        # In order of size, or it would matter which thread had come first.
        missed, order = (vectors - codes).square().sum(1).sort()
        count = min(int(dead.sum()), len(vectors))
        if count:
            chance = generator(self.recipe.seed, step)
            picked = torch.multinomial(missed.cpu() + 1e-9, count, generator=chance)
            picked = order[picked.to(order.device)]
            places = dead.nonzero()[:count, 0]
            self.sums[places] = vectors[picked]
            self.sizes[places] = 1.0


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
    """A quick decoder that works at the width of the grid alone, to learn the codes with.

    Ten times cheaper than the decoder proper, which is trained when the codes are settled.
    """

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
        vectors = _unit_vectors(latents)
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
        real, codes = seen[picked], vq.quantize.get_codebook_entry(tokens[picked]).detach()
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


def _unit_vectors(latents: Tensor) -> Tensor:
    """What is rounded to codes, `(n, height/8, width/8, dim)`."""
    return nn.functional.normalize(latents.float().permute(0, 2, 3, 1), dim=-1)


@torch.no_grad()
def picture_tokens(vq: JanusVQVAE, seen: Tensor) -> Tensor:
    """The tokens of pictures, `(n, grid * grid)`, row by row."""
    parts = [
        vq.encode(as_floats(part.to(vq.device))).image_tokens.cpu()
        for part in seen.split(_ENCODING_BATCH)
    ]
    return torch.cat(parts).view(len(seen), -1)
