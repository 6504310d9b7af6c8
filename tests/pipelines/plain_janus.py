"""Requests of the tiny Janus, and what plain transformers draws for one alone."""

from typing import Any

import torch
import transformers
from PIL import Image
from tiny_janus import GRID, PATCH

from pipelines.catalog import ModelSpec
from pipelines.pipeline import ImageRequest

SIDE, TOKENS = GRID * PATCH, GRID**2


def ask(**changes: Any) -> ImageRequest:
    plain = {"prompt": "a red circle", "width": SIDE, "height": SIDE, "steps": TOKENS}
    rules = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
    return ImageRequest(**{**plain, **rules, "guidance_scale": 3.0, "seed": 1, **changes})


class PlainJanus:
    """A Janus through `generate(generation_mode="image")`, one request at a time."""

    def __init__(self, spec: ModelSpec) -> None:
        self.model = transformers.JanusForConditionalGeneration.from_pretrained(
            spec.source, dtype=torch.float32
        )
        self.processor = transformers.JanusProcessor.from_pretrained(spec.source)
        self._drawn: dict[ImageRequest, list[int]] = {}

    def tokens(self, request: ImageRequest) -> list[int]:
        if request not in self._drawn:
            draw = self._generate if request.guidance_scale > 1 else self._generate_unguided
            self._drawn[request] = draw(request)
        return self._drawn[request]

    @torch.no_grad()
    def picture(self, request: ImageRequest) -> Image.Image:
        pixels = self.model.decode_image_tokens(torch.tensor([self.tokens(request)]))
        # As it wants them: it takes the first axis of what `decode_image_tokens` gives for colours.
        [picture] = self.processor.postprocess(
            list(pixels.permute(0, 3, 1, 2)), return_tensors="PIL.Image.Image"
        )["pixel_values"]
        return picture

    def inputs(self, *prompts: str) -> Any:
        texts = [
            self.processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "text", "text": prompt}]}],
                add_generation_prompt=True,
            )
            for prompt in prompts
        ]
        return self.processor(
            text=texts, generation_mode="image", padding=len(texts) > 1, return_tensors="pt"
        )

    def _generate(self, request: ImageRequest) -> list[int]:
        rules = {"do_sample": False}
        if request.temperature:
            rules = {
                "do_sample": True,
                "temperature": request.temperature,
                "top_k": request.top_k,
                "top_p": request.top_p,
            }
        torch.manual_seed(request.seed)
        drawn: torch.Tensor = self.model.generate(
            **self.inputs(request.prompt).to(self.model.device),
            generation_mode="image",
            guidance_scale=request.guidance_scale,
            **rules,
        )
        return drawn[0].tolist()

    @torch.no_grad()
    def _generate_unguided(self, request: ImageRequest) -> list[int]:
        """`generate`'s loop written out, for it cannot go without its unconditional half."""
        parts, generator = self.model.model, torch.Generator().manual_seed(request.seed)
        seen = self.model.get_input_embeddings()(self.inputs(request.prompt)["input_ids"])
        drawn: list[int] = []
        while len(drawn) < parts.vision_model.config.num_image_tokens:
            hidden = parts.language_model(inputs_embeds=seen, use_cache=False).last_hidden_state
            scores = parts.generation_head(hidden[:, -1])
            if request.temperature:
                scores = _warpers(request)(None, scores)
                token = torch.multinomial(scores.softmax(-1), 1, generator=generator)
            else:
                token = scores.argmax(-1, keepdim=True)
            drawn.append(int(token))
            aligned = self.model.prepare_embeddings_for_image_generation(token)
            seen = torch.cat([seen, aligned], dim=1)
        return drawn


def _warpers(request: ImageRequest) -> transformers.LogitsProcessorList:
    warpers = transformers.LogitsProcessorList()
    warpers.append(transformers.TemperatureLogitsWarper(float(request.temperature or 1)))
    if request.top_k:
        warpers.append(transformers.TopKLogitsWarper(request.top_k))
    if request.top_p:
        warpers.append(transformers.TopPLogitsWarper(request.top_p))
    return warpers
