"""Janus and Janus-Pro: a language model that draws a picture token by token (Chen et al., 2025)."""

import math
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.nn import functional
from transformers import AutoConfig

from pipelines.batch_invariance import make_batch_invariant
from pipelines.catalog import ModelSpec
from pipelines.embeddings import Embedding, EmbeddingCache
from pipelines.errors import ModelLoadError, RequestError
from pipelines.pipeline import ImageRequest, Picture, Pipeline, State
from pipelines.pixels import to_images
from pipelines.preview import MAX_SIDE
from pipelines.prompts import ChatPrompts, Tokens
from pipelines.sampling import Sampling, draw_noise, draw_tokens, guide
from pipelines.slots import Slots, slots_shape
from pipelines.token_model import Read, TokenModel
from pipelines.tuning import Tuning
from pipelines.weights import loaded_bytes

#: Of keys and values of prompts, kept for the next image that says the same.
_PREFIXES_LIMIT_BYTES = 256 * 1024**2
#: Previews after an image's first may take this share of the time, however long one takes.
_PREVIEW_SHARE = 0.05


@dataclass(eq=False, kw_only=True)
class JanusState(State):
    """A picture being drawn, row by row from the top left. A step is a token."""

    #: Of the prompt, then without it where there is guidance; none once the last token is drawn.
    slots: tuple[int, ...]
    #: Positions that the prompt takes in a slot.
    prompt_length: int
    sampling: Sampling
    generator: torch.Generator
    #: On the CPU, (steps,); those not drawn yet are 0.
    tokens: torch.Tensor
    is_shown: bool = False
    #: For the next draw, kept until it succeeds: a step that is tried again draws the same.
    noise: torch.Tensor | None = None

    @property
    def position(self) -> int:
        """Where in its slots the next token is read."""
        return self.prompt_length + self.step

    def take(self, token: int) -> None:
        self.tokens[self.step] = token
        self.noise = None
        self.step += 1


class Janus(Pipeline):
    """Drives a `JanusForConditionalGeneration` taken apart, one image token a step.

    A step reads one token of every row, the mark that begins a picture first, and draws the next.
    What stands before that mark is read in `encode`, on its own thread, and put into the image's
    slots; so nobody's step waits for a newcomer's prompt, however long it is.
    """

    def __init__(self, spec: ModelSpec, components: Any, device: torch.device) -> None:
        """`components` has a loaded `model` and its `processor`.

        What draws no pictures, such as the tower that looks at them, is let go of.
        """
        self.spec = spec
        self.device = device
        model, processor = components.model, components.processor
        self.vq = model.model.vqmodel
        self.image_tokens: int = model.model.vision_model.config.num_image_tokens
        self._side: int = model.config.vq_config.num_patches
        self._size = _picture_size(model.config)
        self._check_spec()
        self.prompts = ChatPrompts(processor, model.generation_config, spec.prompt_tokens)
        self.tokens = TokenModel(
            model.model.language_model,
            model.model.generation_head,
            _input_table(model, self.prompts.begin),
            slots=spec.slots,
            length=spec.prompt_tokens + self.image_tokens,
        )
        self.codes: int = model.model.generation_embeddings.num_embeddings
        self._colours = processor.image_processor.image_mean, processor.image_processor.image_std
        self.prefixes = EmbeddingCache(_PREFIXES_LIMIT_BYTES)
        self._next_preview_s = 0.0
        self._count_bytes()

    @classmethod
    def set_aside_bytes(cls, spec: ModelSpec, folder: Path, dtype: torch.dtype) -> int:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        length = spec.prompt_tokens + config.vision_config.num_image_tokens
        return math.prod(slots_shape(config.text_config, spec.slots, length)) * dtype.itemsize

    def tune(self, tuning: Tuning) -> None:
        self.tokens.tune(tuning)
        if tuning.channels_last:
            self.vq.to(memory_format=torch.channels_last)
        self._count_bytes()
        is_exact = self.vq.dtype == torch.float32
        if self.device.type == "cpu" and is_exact and not tuning.compiled:
            for module in (self.tokens.language_model, self.tokens.head, self.vq):
                make_batch_invariant(module)

    @property
    def slots(self) -> Slots:
        return self.tokens.slots

    def _count_bytes(self) -> None:
        self.size_bytes = self.tokens.size_bytes + loaded_bytes([self.vq])

    # -- the pipeline ------------------------------------------------------------------------------

    def has_room(self, request: ImageRequest) -> bool:
        return self.slots.free >= _rows(request)

    @torch.inference_mode()
    def encode(self, request: ImageRequest) -> JanusState:
        self._check_request(request)
        prompt = self.prompts.read(request.prompt)
        texts = (prompt.tokens, prompt.unconditional)[: _rows(request)]
        prefixes = [self.prefixes.get(tokens, self._read_prefix) for tokens in texts]
        generator = torch.Generator(self.device).manual_seed(request.seed)
        # Last, for what fails before has no slots to give back.
        slots = self.slots.take(len(prefixes))
        for slot, prefix in zip(slots, prefixes, strict=True):
            self.slots.fill(slot, prefix.tensors["keys and values"])
        return JanusState(
            request=request,
            pipeline=self,
            steps=self.image_tokens,
            rows=len(slots),
            warnings=prompt.warnings,
            slots=slots,
            prompt_length=len(prompt.tokens),
            sampling=self._sampling(request),
            generator=generator,
            tokens=torch.zeros(self.image_tokens, dtype=torch.long),
        )

    def batch_key(self, state: State) -> Hashable:
        return ()

    @torch.inference_mode()
    def step(self, states: Sequence[State]) -> None:
        drawn = [state for state in states if isinstance(state, JanusState)]
        for state in drawn:
            state.slots = self.slots.move_down(state.slots, state.position)
        scores = self.tokens.read(
            {slot: self._next(state) for state in drawn for slot in state.slots}
        )
        with_prompt = scores[[state.slots[0] for state in drawn]]
        without = scores[[state.slots[-1] for state in drawn]]
        scales = [state.request.guidance_scale for state in drawn]
        guided = guide(with_prompt, without, torch.tensor(scales, device=self.device))
        noise = torch.stack([self._noise(state) for state in drawn])
        tokens = draw_tokens(guided, [state.sampling for state in drawn], noise).tolist()
        for state, token in zip(drawn, tokens, strict=True):
            state.take(token)
            if state.is_finished:
                self.release(state)

    def _next(self, state: JanusState) -> Read:
        """The token drawn last, or the mark that begins a picture: the last row of the inputs."""
        token = int(state.tokens[state.step - 1]) if state.step else self.codes
        return Read(token, state.position)

    def _noise(self, state: JanusState) -> torch.Tensor:
        if state.noise is None:
            state.noise = draw_noise(state.generator, self.codes)
        return state.noise

    @torch.inference_mode()
    def decode(self, states: Sequence[State]) -> list[Picture]:
        tokens = torch.stack([state.tokens for state in states if isinstance(state, JanusState)])
        images = self._pixels(tokens)
        return [Picture(image, state.warnings) for image, state in zip(images, states, strict=True)]

    @torch.inference_mode()
    def preview(self, state: State) -> Image.Image | None:
        """The rows begun, decoded, the last token filling its row and the last line the rest.

        Every image is shown once, and more often as long as that takes little of the time.
        """
        begun_s, done = time.monotonic(), state.step
        if not isinstance(state, JanusState) or not done:
            return None
        if state.is_shown and begun_s < self._next_preview_s:
            return None
        tokens = state.tokens[: math.ceil(done / self._side) * self._side].clone()
        tokens[done:] = tokens[done - 1]
        [picture] = self._pixels(tokens.unsqueeze(0))
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
        state.is_shown = True
        now_s = time.monotonic()
        self._next_preview_s = now_s + (now_s - begun_s) * (1 / _PREVIEW_SHARE - 1)
        return picture

    def release(self, state: State) -> None:
        if isinstance(state, JanusState):
            slots, state.slots = state.slots, ()
            self.slots.give_back(slots)

    # -- what it takes -----------------------------------------------------------------------------

    def _check_spec(self) -> None:
        """Raises `ModelLoadError` where the entry promises pictures that the model cannot draw."""
        width, height = self._size
        if (self.spec.steps.default, self.spec.size.default) != (self.image_tokens, self._size):
            raise ModelLoadError(
                f"model {self.spec.name!r}: it draws {width}x{height} pictures of "
                f"{self.image_tokens} tokens; let its size and its steps say so"
            )

    def _check_request(self, request: ImageRequest) -> None:
        if (request.width, request.height) != self._size:
            raise RequestError("width: this model draws {}x{} pictures only".format(*self._size))
        if request.steps != self.image_tokens:
            raise RequestError(f"steps: this model takes {self.image_tokens}, one a token")
        for name in ("negative_prompt", "scheduler"):
            if getattr(request, name):
                raise RequestError(f"{name}: this model takes none")

    def _sampling(self, request: ImageRequest) -> Sampling:
        """What the request leaves open is the model's default."""
        asked = {name: getattr(request, name) for name in ("temperature", "top_k", "top_p")}
        defaults = {name: getattr(self.spec, name).default for name in asked}
        return Sampling(
            **{name: defaults[name] if value is None else value for name, value in asked.items()}
        )

    # -- texts and pixels --------------------------------------------------------------------------

    def _read_prefix(self, tokens: Tokens) -> Embedding:
        return Embedding({"keys and values": self.tokens.prefill(tokens)})

    def _pixels(self, tokens: torch.Tensor) -> list[Image.Image]:
        """(batch, image tokens) to pictures; where rows are missing the last line goes on.

        By the parts of transformers' `JanusVQVAE.decode`, which takes whole pictures only: a
        preview of a few rows costs as little as they are.
        """
        rows = tokens.to(self.device).unflatten(1, (-1, self._side))
        codes = functional.normalize(self.vq.quantize.embedding(rows), dim=-1)
        pixels = self.vq.decoder(self.vq.post_quant_conv(codes.permute(0, 3, 1, 2)))
        missing = self._size[1] - pixels.shape[-2]
        return to_images(functional.pad(pixels, (0, 0, 0, missing), "replicate"), *self._colours)


def _rows(request: ImageRequest) -> int:
    return 2 if request.guidance_scale > 1 else 1


def _picture_size(config: Any) -> tuple[int, int]:
    """Width and height: the decoder doubles a square of tokens once a level but the first."""
    doublings = len(config.vq_config.channel_multiplier) - 1
    side: int = config.vq_config.num_patches * 2**doublings
    return (side, side)


def _input_table(model: Any, mark: int) -> torch.Tensor:
    """What a step may read, as the language model takes it: (image tokens + 1, width).

    Every image token, aligned, and last the text's mark that begins a picture.
    """
    with torch.inference_mode():
        numbers = torch.arange(model.model.generation_embeddings.num_embeddings)
        aligned = model.prepare_embeddings_for_image_generation(numbers.to(model.device))
        begin = model.get_input_embeddings()(torch.tensor([mark], device=model.device))
        return torch.cat([aligned, begin])
