"""Janus, stage two: the language model, on tokens made once and captions worded anew."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import JanusForConditionalGeneration, JanusProcessor

from pipelines.demo.captions import ATTRIBUTES
from pipelines.demo.course import Course, blend, generator
from pipelines.demo.processor import prompt_tokens
from pipelines.demo.recipe import JanusRecipe
from pipelines.demo.words import answers, worded

log = logging.getLogger(__name__)

MEASURE_EVERY_STEPS = 1000
_IGNORED = -100


class Writer(nn.Module):
    """The part of a Janus that turns a prompt into tokens, with heads that say what it read.

    The heads name each attribute of the scene from what the middle layer makes of the prompt's
    last token. They teach the lower layers to read long before the pictures would, and are then
    thrown away.
    """

    def __init__(self, janus: JanusForConditionalGeneration, recipe: JanusRecipe) -> None:
        super().__init__()
        self.backbone = janus.model.language_model
        self.embeddings = janus.model.generation_embeddings
        self.aligner = janus.model.generation_aligner
        self.head = janus.model.generation_head
        self.middle = recipe.layers // 2
        self.read = nn.RMSNorm(recipe.width)
        self.heads = nn.ModuleList(
            nn.Linear(recipe.width, len(names)) for names in ATTRIBUTES.values()
        )

    def forward(self, prompts: Tensor, mask: Tensor, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores of every token of the pictures, `(batch, codes, tokens)`, and of each attribute,
        `(batch, names)`.

        `prompts` and their attention `mask` are `(batch, length)`, padded on the left, as the
        processor makes them; `tokens` are `(batch, grid * grid)`.
        """
        words = self.backbone.get_input_embeddings()(prompts)
        strokes = self.aligner(self.embeddings(tokens[:, :-1]))
        seen = torch.cat([mask, torch.ones_like(tokens[:, :-1])], dim=1)
        out = self.backbone(
            inputs_embeds=torch.cat([words, strokes], dim=1),
            attention_mask=seen,
            use_cache=False,
            output_hidden_states=True,
        )
        last = prompts.shape[1] - 1
        scores = self.head(out.last_hidden_state[:, last:]).transpose(1, 2)
        read = self.read(out.hidden_states[self.middle][:, last])
        return scores, [head(read) for head in self.heads]


def train_backbone(
    recipe: JanusRecipe,
    processor: JanusProcessor,
    janus: JanusForConditionalGeneration,
    pool: Tensor,
    folder: Path,
    measure: Callable[[], dict[str, float]],
) -> Course:
    """Trains `janus` on from `folder`, and leaves the running average of the weights in it.

    `pool` holds the tokens of every training scene, `(scenes, grid * grid)`.
    """
    average = Writer(janus, recipe).to(recipe.device).eval().requires_grad_(False)
    writer = copy.deepcopy(average).requires_grad_(True)
    # On a CPU the fused attention's way back takes three times as long as the plain one's.
    writer.backbone.set_attn_implementation("eager")
    course = Course(folder / "backbone.pt", writer, recipe.backbone)
    course.parts["average"] = average
    course.restore()

    def batch_at(step: int) -> tuple[Tensor, ...]:
        chance = generator(recipe.seed, step)
        picked = torch.randint(len(pool), (recipe.backbone.batch,), generator=chance)
        rng = np.random.default_rng((recipe.seed, 2, step))
        captions, texts = worded(recipe, picked.tolist(), rng)
        prompts = prompt_tokens(processor, texts)
        asked = answers(captions)
        dropped = torch.rand(len(picked), generator=chance) < recipe.empty_share
        ids = prompts.input_ids
        ids[dropped] = without_words(processor, ids[dropped])
        asked[dropped] = _IGNORED
        return ids, prompts.attention_mask, pool[picked], asked

    def loss_of(prompts: Tensor, mask: Tensor, tokens: Tensor, asked: Tensor) -> Tensor:
        with torch.autocast(prompts.device.type, torch.bfloat16, cache_enabled=False):
            scores, named = writer(prompts, mask, tokens)
        drawing = nn.functional.cross_entropy(scores.float(), tokens)
        # A sum, for the mean of a batch in which nothing was asked is no number.
        reading = [
            nn.functional.cross_entropy(said.float(), right, ignore_index=_IGNORED, reduction="sum")
            for said, right in zip(named, asked.unbind(1), strict=True)
        ]
        return drawing + recipe.reading_weight * torch.stack(reading).mean() / len(tokens)

    def after_step(step: int) -> None:
        blend(average, writer, step, recipe.average)
        if step % MEASURE_EVERY_STEPS == 0 and step < recipe.backbone.steps:
            course.marks.append((step, measure()))
            log.info("backbone: step %d obeys %s", *course.marks[-1])

    course.run(batch_at, loss_of, after_step)
    return course


def without_words(processor: JanusProcessor, prompts: Tensor) -> Tensor:
    """The unconditional half of guidance as `generate` makes it: every token but the first and
    the begin-of-image token becomes a pad token, and all are attended to as before."""
    tokenizer = processor.tokenizer
    kept = (prompts == tokenizer.bos_token_id) | (prompts == tokenizer.boi_token_id)
    return prompts.where(kept, tokenizer.pad_token_id)
