"""What every step-wise diffusers model shares: noise, schedule, guidance, and the batched step."""

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from pipelines.batch_invariance import make_batch_invariant
from pipelines.catalog import ModelSpec
from pipelines.cores import Cores, cores, shares_of
from pipelines.embeddings import Embedding, EmbeddingCache
from pipelines.errors import RequestError
from pipelines.pipeline import ImageRequest, Phase, Picture, Pipeline, State
from pipelines.pixels import to_images
from pipelines.preview import fit_colours, paint_preview, sample_pictures
from pipelines.schedule import Schedule, ScheduleShelf
from pipelines.schedulers import DENOISING_SCHEDULERS, SchedulerKind
from pipelines.tuning import Tuning, bucket_of
from pipelines.weights import loaded_bytes

_EMBEDDINGS_LIMIT_BYTES = 64 * 1024**2

Conditions = Mapping[str, torch.Tensor]


@dataclass(eq=False, kw_only=True)
class DiffusionState(State):
    """An image being denoised."""

    schedule: Schedule
    #: On the CPU, so that a seed means the same noise on every device.
    generator: torch.Generator
    #: (1, channels, height/8, width/8), or whatever shape the family denoises in.
    latents: torch.Tensor
    #: What the model is told, by argument name: (rows, ...), the unconditional row first.
    conditions: Conditions

    def advance(self, prediction: torch.Tensor, guidance_rescale: float) -> None:
        """Take the model's output for this state's rows, (rows, channels, height/8, width/8)."""
        if self.rows == 2:
            prediction = guide(prediction, self.request.guidance_scale, guidance_rescale)
        self.latents = self.schedule.advance(prediction, self.step, self.latents, self.generator)
        self.step += 1


def guide(prediction: torch.Tensor, scale: float, rescale: float = 0.0) -> torch.Tensor:
    """Classifier-free guidance (Ho and Salimans, 2022) over (2, ...), the unconditional row first.

    `rescale` brings the guided prediction's contrast back to the conditional one's, which models
    with zero terminal SNR need (Lin et al., 2023, section 3.4).
    """
    unconditional, conditional = prediction.chunk(2)
    guided = unconditional + scale * (conditional - unconditional)
    if rescale > 0:
        axes = list(range(1, guided.ndim))
        ratio = conditional.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
        guided = rescale * (guided * ratio) + (1 - rescale) * guided
    return guided


def _size(request: ImageRequest) -> tuple[int, int]:
    return (request.width, request.height)


def pad(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """(n, ...) to (rows, ...) by repeating the last row, which is as harmless as the row itself."""
    missing = rows - tensor.shape[0]
    if missing <= 0:
        return tensor
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])])


class DiffusionPipeline(Pipeline):
    """A diffusers pipeline taken apart: its components, driven one step at a time."""

    #: The component that denoises.
    denoiser_name: str
    #: What a request may name.
    scheduler_kinds: Mapping[str, SchedulerKind] = DENOISING_SCHEDULERS
    #: See `ScheduleShelf`.
    begins_at_zero: bool = False

    def __init__(self, spec: ModelSpec, components: Any, device: torch.device) -> None:
        """`components` is a loaded diffusers pipeline, already on `device`."""
        self.spec = spec
        self.device = device
        self.components = components
        self.denoiser = getattr(components, self.denoiser_name)
        self.vae = components.vae
        self.dtype: torch.dtype = self.denoiser.dtype
        self.vae_scale: int = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.schedules = ScheduleShelf(
            components.scheduler, self.scheduler_kinds, begins_at_zero=self.begins_at_zero
        )
        #: Picture sizes that did not fit without; see `save_memory`.
        self._sliced: set[tuple[int, int]] = set()
        self._tiled: set[tuple[int, int]] = set()
        self._is_slicing = False
        self._row_buckets: tuple[int, ...] = ()
        self._cores: Cores | None = None
        self.embeddings = EmbeddingCache(_EMBEDDINGS_LIMIT_BYTES)
        self.size_bytes = loaded_bytes(components.components.values())
        self._colours = self._fit_colours()

    # -- what a family adds ------------------------------------------------------------------------

    @abstractmethod
    def _embed(self, text: str) -> Embedding:
        """Text as the model reads it."""

    @abstractmethod
    def _predict(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditions: Conditions,
        request: ImageRequest,
    ) -> torch.Tensor:
        """One forward pass over (rows, ...) latents at (rows,) timesteps.

        Args:
            request: one of the batch's, for what all of them agree in.
        """

    @abstractmethod
    def _unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents as the VAE made them, (batch, channels, height/8, width/8), from the model's."""

    def _negative(self, text: str, prompt: Embedding) -> Embedding:
        """What the picture is pushed away from."""
        return self.embeddings.get(text, self._embed)

    def _condition(self, request: ImageRequest, guided: bool) -> tuple[Conditions, tuple[str, ...]]:
        """What the model is told, (rows, ...) by argument name, and what the user should know."""
        prompt = self.embeddings.get(request.prompt, self._embed)
        parts, warnings = [prompt], list(prompt.warnings)
        if guided:
            negative = self._negative(request.negative_prompt, prompt)
            parts.insert(0, negative)
            warnings += [f"negative {warning}" for warning in negative.warnings]
        conditions = {
            name: torch.cat([part.tensors[name] for part in parts]) for name in prompt.tensors
        }
        return conditions, tuple(warnings)

    def _is_guided(self, request: ImageRequest) -> bool:
        return request.guidance_scale > 1

    def _latent_shape(self, request: ImageRequest) -> tuple[int, ...]:
        channels = self.denoiser.config.in_channels
        return (1, channels, request.height // self.vae_scale, request.width // self.vae_scale)

    @property
    def _size_multiple(self) -> int:
        return self.vae_scale

    def _schedule(self, request: ImageRequest) -> Schedule:
        return self.schedules.take(self._scheduler_name(request), request.steps)

    def _scheduler_name(self, request: ImageRequest) -> str | None:
        return request.scheduler or self.spec.scheduler

    # -- the pipeline ------------------------------------------------------------------------------

    @torch.inference_mode()
    def encode(self, request: ImageRequest) -> DiffusionState:
        self._check_size(request)
        schedule = self._schedule(request)
        guided = self._is_guided(request)
        conditions, warnings = self._condition(request, guided)
        generator = torch.Generator("cpu").manual_seed(request.seed)
        noise = torch.randn(self._latent_shape(request), generator=generator, dtype=self.dtype)
        return DiffusionState(
            request=request,
            pipeline=self,
            steps=len(schedule.timesteps),
            rows=2 if guided else 1,
            warnings=warnings,
            schedule=schedule,
            generator=generator,
            latents=self._pack(noise.to(self.device) * schedule.initial_sigma),
            conditions=conditions,
        )

    def tune(self, tuning: Tuning) -> None:
        self._row_buckets = tuning.row_buckets
        threads = tuning.cpu_threads or torch.get_num_threads()
        is_on_cpu = self.device.type == "cpu" and not tuning.compiled
        self._cores = cores(threads) if is_on_cpu and threads > 1 else None
        if tuning.channels_last:
            for module in (self.denoiser, self.vae):
                module.to(memory_format=torch.channels_last)
        if tuning.fused_qkv and hasattr(self.denoiser, "fuse_qkv_projections"):
            self.denoiser.fuse_qkv_projections()
        if is_on_cpu and self.dtype == torch.float32:
            for module in (self.denoiser, self.vae):
                make_batch_invariant(module)
        if tuning.compiled and getattr(self.denoiser, "_repeated_blocks", None):
            self.denoiser.compile_repeated_blocks(fullgraph=True, dynamic=not tuning.row_buckets)

    def batch_key(self, state: State) -> Hashable:
        return _size(state.request)

    @torch.inference_mode()
    def step(self, states: Sequence[State]) -> None:
        denoised = [state for state in states if isinstance(state, DiffusionState)]
        self._slice_attention(_size(states[0].request) in self._sliced)
        inputs, timesteps = [], []
        for state in denoised:
            scaled = state.schedule.scale_input(state.latents, state.step)
            inputs += [scaled] * state.rows
            timesteps += [state.schedule.timestep(state.step)] * state.rows
        rows = bucket_of(len(inputs), self._row_buckets)
        conditions = {
            name: pad(torch.cat([state.conditions[name] for state in denoised]), rows)
            for name in denoised[0].conditions
        }
        moments = pad(torch.tensor(timesteps, dtype=torch.float32, device=self.device), rows)
        latents = pad(torch.cat(inputs), rows)
        prediction = self._predict_shared(latents, moments, conditions, states[0].request)
        parts = prediction[: len(inputs)].split([state.rows for state in denoised])
        for state, part in zip(denoised, parts, strict=True):
            try:
                state.advance(part, self.spec.guidance_rescale)
            except Exception as error:
                state.failure = error

    def _predict_shared(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditions: Conditions,
        request: ImageRequest,
    ) -> torch.Tensor:
        """`_predict`, with the rows shared among CPU cores where that pays."""
        shares = 1
        # Memory is measured on one thread only.
        if self._cores is not None and not torch._C._len_torch_dispatch_stack():
            rows, equal = latents.shape[0], bool(self._row_buckets)
            shares = shares_of(rows, self._cores.count, equal=equal)
        if self._cores is None or shares == 1:
            return self._predict(latents, timesteps, conditions, request)
        parts = {name: tensor.chunk(shares) for name, tensor in conditions.items()}
        inputs, times = latents.chunk(shares), timesteps.chunk(shares)

        @torch.inference_mode()
        def predict(share: int) -> torch.Tensor:
            told = {name: chunks[share] for name, chunks in parts.items()}
            return self._predict(inputs[share], times[share], told, request)

        return torch.cat(self._cores.run(predict, range(len(inputs))))

    @torch.inference_mode()
    def decode(self, states: Sequence[State]) -> list[Picture]:
        latents = torch.cat(
            [state.latents for state in states if isinstance(state, DiffusionState)]
        )
        self._tile_decoder(_size(states[0].request) in self._tiled)
        images = to_images(self._pixels(self._unscaled(self._unpack(latents, states[0].request))))
        return [Picture(image, state.warnings) for image, state in zip(images, states, strict=True)]

    @torch.inference_mode()
    def preview(self, state: State) -> Image.Image | None:
        outline = state.schedule.outline if isinstance(state, DiffusionState) else None
        if outline is None:
            return None
        latents = self._unscaled(self._unpack(outline.cpu(), state.request))
        return paint_preview(latents, self._colours)

    @torch.inference_mode()
    def _fit_colours(self) -> torch.Tensor:
        """How this VAE's latents look; see `preview.py`."""
        pictures = sample_pictures(self.vae_scale).to(self.device, self.vae.dtype)
        latents = self.vae.encode(pictures).latent_dist.mode()
        return fit_colours(latents, self._pixels(latents))

    def _pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """What the VAE decodes its latents to: (batch, 3, height, width) in -1..1."""
        pixels: torch.Tensor = self.vae.decode(latents.to(self.vae.dtype), return_dict=False)[0]
        return pixels

    def save_memory(self, phase: Phase, width: int, height: int) -> bool:
        if phase is Phase.STEP and hasattr(self.denoiser, "set_attention_slice"):
            saving = self._sliced
        elif phase is Phase.DECODE and hasattr(self.vae, "enable_tiling"):
            saving = self._tiled
        else:
            return False
        is_new = (width, height) not in saving
        saving.add((width, height))
        return is_new

    def _slice_attention(self, is_wanted: bool) -> None:
        """Attention one head at a time: slower, and without the largest of its matrices."""
        if is_wanted != self._is_slicing:
            self.denoiser.set_attention_slice("max" if is_wanted else None)
            self._is_slicing = is_wanted

    def _tile_decoder(self, is_wanted: bool) -> None:
        """Decode tile by tile, blended where they meet: slower, in the memory of one tile."""
        if is_wanted != getattr(self.vae, "use_tiling", False):
            (self.vae.enable_tiling if is_wanted else self.vae.disable_tiling)()

    def _pack(self, noise: torch.Tensor) -> torch.Tensor:
        """Latents as the denoiser wants them; most want them as they are."""
        return noise

    def _unpack(self, latents: torch.Tensor, request: ImageRequest) -> torch.Tensor:
        """The way back: (batch, channels, height/8, width/8)."""
        return latents

    def _check_size(self, request: ImageRequest) -> None:
        for name, side in (("width", request.width), ("height", request.height)):
            if side <= 0 or side % self._size_multiple:
                raise RequestError(f"{name}: {side} is not a multiple of {self._size_multiple}")
