"""Flow-matching transformers: Stable Diffusion 3 (Esser et al., 2024) and Flux."""

from typing import Any

import numpy as np
import torch

from pipelines.diffusion import Conditions, DiffusionPipeline
from pipelines.embeddings import Embedding
from pipelines.pipeline import ImageRequest
from pipelines.schedule import Schedule
from pipelines.schedulers import FLOW_SCHEDULERS
from pipelines.tokens import truncation_warnings


class FlowPipeline(DiffusionPipeline):
    """A transformer that moves noise to pictures along straight lines."""

    denoiser_name = "transformer"
    scheduler_kinds = FLOW_SCHEDULERS
    #: The longest shift where the scheduler's configuration does not say.
    max_shift: float

    def _unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        config = self.vae.config
        unscaled: torch.Tensor = latents / config.scaling_factor + config.shift_factor
        return unscaled

    def _shift(self, request: ImageRequest) -> dict[str, float]:
        """How far the schedule is moved towards noise: the further, the larger the picture.

        A straight line through two picture sizes, for schedulers that were saved to want one (Esser
        et al., 2024, section 5.3.2).
        """
        config = self.components.scheduler.config
        if not config.get("use_dynamic_shifting", False):
            return {}
        patches = request.pixels // self._size_multiple**2
        short, long = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        low, high = config.get("base_shift", 0.5), config.get("max_shift", self.max_shift)
        slope = (high - low) / (long - short)
        return {"mu": patches * slope + (low - slope * short)}


class StableDiffusion3(FlowPipeline):
    """Drives a `StableDiffusion3Pipeline`: two CLIP encoders, and T5 where it is loaded."""

    max_shift = 1.16
    _T5_TOKENS = 256

    @property
    def _size_multiple(self) -> int:
        return self.vae_scale * int(self.denoiser.config.patch_size)

    def _schedule(self, request: ImageRequest) -> Schedule:
        return self.schedules.take(
            self._scheduler_name(request), request.steps, **self._shift(request)
        )

    def _embed(self, text: str) -> Embedding:
        embeds, _, pooled, _ = self.components.encode_prompt(
            prompt=text,
            prompt_2=None,
            prompt_3=None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self._T5_TOKENS,
        )
        if self.components.text_encoder_3 is None:
            warnings = truncation_warnings(text, self.components.tokenizer)
        else:
            warnings = truncation_warnings(text, self.components.tokenizer_3, self._T5_TOKENS)
        return Embedding({"encoder_hidden_states": embeds, "pooled_projections": pooled}, warnings)

    def _predict(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditions: Conditions,
        request: ImageRequest,
    ) -> torch.Tensor:
        prediction: torch.Tensor = self.denoiser(
            hidden_states=latents, timestep=timesteps, return_dict=False, **conditions
        )[0]
        return prediction


class Flux(FlowPipeline):
    """Drives a `FluxPipeline`: guidance is distilled into it, so that every image takes one row.

    It denoises patches of two by two latents: (1, height/16 * width/16, channels * 4).
    """

    max_shift = 1.15
    begins_at_zero = True
    _T5_TOKENS = 512

    @property
    def _size_multiple(self) -> int:
        return self.vae_scale * 2

    def _is_guided(self, request: ImageRequest) -> bool:
        return False

    def _schedule(self, request: ImageRequest) -> Schedule:
        name, steps = self._scheduler_name(request), request.steps
        options: dict[str, Any] = dict(self._shift(request))
        if self.schedules.accepts(name, "sigmas") and steps > 0:
            options["sigmas"] = tuple(np.linspace(1.0, 1 / steps, steps).tolist())
        return self.schedules.take(name, steps, **options)

    def _condition(self, request: ImageRequest, guided: bool) -> tuple[Conditions, tuple[str, ...]]:
        conditions, warnings = super()._condition(request, guided)
        if self.denoiser.config.guidance_embeds:
            scale = torch.tensor([request.guidance_scale], device=self.device)
            conditions = {**conditions, "guidance": scale}
        if request.negative_prompt:
            warnings = (*warnings, "negative prompt: this model does not read one")
        return conditions, warnings

    def _embed(self, text: str) -> Embedding:
        embeds, pooled, _ = self.components.encode_prompt(
            prompt=text,
            prompt_2=None,
            device=self.device,
            max_sequence_length=self._T5_TOKENS,
        )
        warnings = truncation_warnings(text, self.components.tokenizer_2, self._T5_TOKENS)
        return Embedding({"encoder_hidden_states": embeds, "pooled_projections": pooled}, warnings)

    def _latent_shape(self, request: ImageRequest) -> tuple[int, ...]:
        _, channels, height, width = super()._latent_shape(request)
        return (1, channels // 4, height, width)

    def _pack(self, noise: torch.Tensor) -> torch.Tensor:
        """(1, channels, height/8, width/8) to (1, height/16 * width/16, channels * 4)."""
        return torch.nn.functional.pixel_unshuffle(noise, 2).flatten(2).transpose(1, 2)

    def _unpack(self, latents: torch.Tensor, request: ImageRequest) -> torch.Tensor:
        """(batch, height/16 * width/16, channels * 4) to (batch, channels, height/8, width/8)."""
        sides = (request.height // self._size_multiple, request.width // self._size_multiple)
        return torch.nn.functional.pixel_shuffle(latents.transpose(1, 2).unflatten(2, sides), 2)

    def _predict(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditions: Conditions,
        request: ImageRequest,
    ) -> torch.Tensor:
        words = conditions["encoder_hidden_states"].shape[1]
        prediction: torch.Tensor = self.denoiser(
            hidden_states=latents,
            timestep=timesteps.to(self.dtype) / 1000,
            img_ids=self._places(request),
            txt_ids=torch.zeros(words, 3, dtype=self.dtype, device=self.device),
            return_dict=False,
            **conditions,
        )[0]
        return prediction

    def _places(self, request: ImageRequest) -> torch.Tensor:
        """Where each patch is, as (0, row, column): (height/16 * width/16, 3)."""
        rows = torch.arange(request.height // self._size_multiple)
        columns = torch.arange(request.width // self._size_multiple)
        places = torch.cartesian_prod(torch.zeros(1, dtype=rows.dtype), rows, columns)
        return places.to(self.device, self.dtype)
