"""The codes that a picture's tokens stand for, and how they are found."""

from __future__ import annotations

from threading import Lock

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from pipelines.demo.course import generator
from pipelines.demo.recipe import JanusRecipe


class Codebook(nn.Module):
    """Moves each code to the mean of the vectors nearest to it, and dead codes to new places.

    Codes have length 1, for transformers' `JanusVQVAE` scales them so when it decodes: the nearest
    is then the one at the smallest angle, whatever the length of the encoder's vector. They follow
    running means instead of gradients, as in the appendix of VQ-VAE (arXiv 1711.00937).
    """

    #: Of each code, how many of a step's vectors are nearest to it, and their sum.
    sizes: Tensor
    sums: Tensor

    def __init__(self, codes: nn.Embedding, recipe: JanusRecipe) -> None:
        super().__init__()
        self.codes = codes.requires_grad_(False)
        self.codes.weight.copy_(normalize(codes.weight, dim=1))
        self.recipe = recipe
        self.register_buffer("sizes", codes.weight.new_ones(codes.num_embeddings))
        self.register_buffer("sums", codes.weight.clone())
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._lock = Lock()

    def forward(self, vectors: Tensor) -> Tensor:
        """Unit vectors `(n, width)` to their codes; the gradient passes straight through."""
        numbers = (vectors.detach() @ self.codes.weight.T).argmax(1)
        with self._lock:
            self._seen.append((vectors.detach(), numbers))
        return vectors + (self.codes.weight[numbers] - vectors).detach()

    @torch.no_grad()
    def settle(self, step: int) -> None:
        """Takes in what was seen since the last call."""
        # Each part by itself: a sum of two is the same whichever thread came first.
        sizes, sums = torch.zeros_like(self.sizes), torch.zeros_like(self.sums)
        for vectors, numbers in self._seen:
            sizes += numbers.bincount(minlength=len(sizes))
            sums += torch.zeros_like(sums).index_add_(0, numbers, vectors)
        self.sizes.lerp_(sizes, 1 - self.recipe.code_memory)
        self.sums.lerp_(sums, 1 - self.recipe.code_memory)
        if self.recipe.revives(step):
            self._revive(step)
        self._seen.clear()
        self.codes.weight.copy_(normalize(self.sums, dim=1))

    def _revive(self, step: int) -> None:
        """Puts codes that are hardly used where a code is missed most."""
        dead = (self.sizes < self.recipe.code_least).nonzero()[:, 0]
        vectors = torch.cat([vectors for vectors, _ in self._seen])
        codes = torch.cat([self.codes.weight[numbers] for _, numbers in self._seen])
        # In order of size, or it would matter which thread came first.
        missed, order = (vectors - codes).square().sum(1).sort()
        dead = dead[: len(vectors)]
        if len(dead):
            chance = generator(self.recipe.seed, step)
            picked = torch.multinomial(missed.cpu() + 1e-9, len(dead), generator=chance)
            self.sums[dead] = vectors[order[picked.to(order.device)]]
            self.sizes[dead] = 1.0
