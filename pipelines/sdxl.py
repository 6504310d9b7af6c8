"""SDXL and its distilled kin: two text encoders and size conditioning (Podell et al., 2023)."""

from typing import Any

import torch

from pipelines.catalog import ModelSpec
from pipelines.diffusion import Conditions
from pipelines.embeddings import Embedding
from pipelines.pipeline import ImageRequest
from pipelines.stable_diffusion import StableDiffusion
from pipelines.tokens import truncation_warnings


class StableDiffusionXL(StableDiffusion):
    """Drives a `StableDiffusionXLPipeline`: base, Turbo, Lightning, LCM."""

    begins_at_zero = True

    def __init__(self, spec: ModelSpec, components: Any, device: torch.device) -> None:
        vae = components.vae
        if vae.dtype == torch.float16 and vae.config.force_upcast:
            # This VAE overflows in half precision.
            vae.to(dtype=torch.float32)
        super().__init__(spec, components, device)

    def _condition(self, request: ImageRequest, guided: bool) -> tuple[Conditions, tuple[str, ...]]:
        embedded, warnings = super()._condition(request, guided)
        conditions = dict(embedded)
        size = (request.height, request.width)
        # As if cut from a picture of just this size, with nothing cropped off.
        sizes = torch.tensor([[*size, 0, 0, *size]], dtype=self.dtype, device=self.device)
        conditions["time_ids"] = sizes.expand(conditions["text_embeds"].shape[0], -1)
        return conditions, warnings

    def _embed(self, text: str) -> Embedding:
        embeds, _, pooled, _ = self.components.encode_prompt(
            prompt=text,
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
        tokenizer = self.components.tokenizer or self.components.tokenizer_2
        warnings = truncation_warnings(text, tokenizer)
        return Embedding({"encoder_hidden_states": embeds, "text_embeds": pooled}, warnings)

    def _negative(self, text: str, prompt: Embedding) -> Embedding:
        """An empty negative prompt is one that was not given, which SDXL reads as zeros."""
        if text or not self.components.config.force_zeros_for_empty_prompt:
            return super()._negative(text, prompt)
        return Embedding(
            {name: torch.zeros_like(tensor) for name, tensor in prompt.tensors.items()}
        )

    def _predict(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditions: Conditions,
        request: ImageRequest,
    ) -> torch.Tensor:
        added = {"text_embeds", "time_ids"}
        prediction: torch.Tensor = self.denoiser(
            latents,
            timesteps,
            added_cond_kwargs={name: conditions[name] for name in added},
            return_dict=False,
            **{name: tensor for name, tensor in conditions.items() if name not in added},
        )[0]
        return prediction

    def _unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        config = self.vae.config
        latents = latents.to(self.vae.dtype)
        mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        if mean is None or std is None:
            return super()._unscaled(latents)
        shape = (1, -1, 1, 1)
        mean, std = (latents.new_tensor(values).view(shape) for values in (mean, std))
        return latents * std / config.scaling_factor + mean
