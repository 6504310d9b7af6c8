"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a UNet, a VAE (Rombach et al., 2022)."""

from typing import Any

import torch

from pipelines.catalog import ModelSpec
from pipelines.diffusion import Conditions, DiffusionPipeline
from pipelines.embeddings import Embedding
from pipelines.pipeline import ImageRequest
from pipelines.tokens import truncation_warnings


class StableDiffusion(DiffusionPipeline):
    """Drives a `StableDiffusionPipeline`, or a latent-consistency model in its shape."""

    denoiser_name = "unet"

    def __init__(self, spec: ModelSpec, components: Any, device: torch.device) -> None:
        super().__init__(spec, components, device)
        #: Models distilled with their guidance inside are told its scale and need no second row.
        self._guidance_width: int | None = self.denoiser.config.time_cond_proj_dim

    def _is_guided(self, request: ImageRequest) -> bool:
        return super()._is_guided(request) and self._guidance_width is None

    def _condition(self, request: ImageRequest, guided: bool) -> tuple[Conditions, tuple[str, ...]]:
        conditions, warnings = super()._condition(request, guided)
        if self._guidance_width is not None:
            embedding = self._guidance_embedding(request.guidance_scale)
            conditions = {**conditions, "timestep_cond": embedding}
        return conditions, warnings

    def _embed(self, text: str) -> Embedding:
        embeds, _ = self.components.encode_prompt(text, self.device, 1, False)
        warnings = truncation_warnings(text, self.components.tokenizer)
        return Embedding({"encoder_hidden_states": embeds}, warnings)

    def _guidance_embedding(self, scale: float) -> torch.Tensor:
        """What a distilled model is told about guidance: (1, time_cond_proj_dim)."""
        embedding: torch.Tensor = self.components.get_guidance_scale_embedding(
            torch.tensor([scale - 1]), embedding_dim=self._guidance_width
        )
        return embedding.to(self.device, self.dtype)

    def _predict(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditions: Conditions,
        request: ImageRequest,
    ) -> torch.Tensor:
        prediction: torch.Tensor = self.denoiser(
            latents, timesteps, return_dict=False, **conditions
        )[0]
        return prediction

    def _unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        unscaled: torch.Tensor = latents / self.vae.config.scaling_factor
        return unscaled
