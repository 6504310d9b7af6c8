"""Stage two: words to meaning, before any picture.

The UNet can only paint what it can read. So the text encoder first learns, from captions
alone, to spell out the scene: after the last word, at every end and padding token, linear
heads must name each attribute. The heads are then thrown away.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pipelines.demo.captions import ATTRIBUTES, Caption
from pipelines.demo.course import Course
from pipelines.demo.recipe import DiffusionRecipe
from pipelines.demo.words import answers, worded

_IGNORED = -100


class Speller(nn.Module):
    """A text encoder with a linear head for every attribute."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.config.hidden_size
        self.heads = nn.ModuleList(nn.Linear(width, len(names)) for names in ATTRIBUTES.values())

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Tokens `(batch, length)` to, for each attribute, scores `(batch, names, length)`."""
        hidden = self.encoder(tokens).last_hidden_state
        return [head(hidden).transpose(1, 2) for head in self.heads]


def build_text_encoder(recipe: DiffusionRecipe, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.text_width,
            intermediate_size=recipe.text_mlp,
            projection_dim=recipe.text_width,
            num_hidden_layers=recipe.text_layers,
            num_attention_heads=recipe.text_heads,
            max_position_embeddings=recipe.max_tokens,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def tokens_of(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids as the diffusers pipeline makes them: cut and padded to the model's length."""
    ids: Tensor = tokenizer(
        texts, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def train_text(
    recipe: DiffusionRecipe, tokenizer: CLIPTokenizer, folder: Path
) -> tuple[CLIPTextModel, Course]:
    """The text encoder, trained on from `folder`; a mark at the end says how well it reads."""
    speller = Speller(build_text_encoder(recipe, tokenizer)).to(recipe.device)
    course = Course(folder / "text.pt", speller, recipe.text)
    course.restore()
    end = tokenizer.eos_token_id

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        captions, texts = _batch(recipe, step)
        return tokens_of(tokenizer, texts), answers(captions)

    def loss_of(tokens: Tensor, asked: Tensor) -> Tensor:
        before_last_word = tokens != end
        losses = []
        for scores, named in zip(speller(tokens), asked.unbind(1), strict=True):
            wanted = named[:, None].expand_as(tokens).masked_fill(before_last_word, _IGNORED)
            losses.append(nn.functional.cross_entropy(scores, wanted, ignore_index=_IGNORED))
        return torch.stack(losses).mean()

    fresh = not course.finished
    course.run(batch_at, loss_of)
    if fresh:
        course.marks.append((course.step, {"read": reading(speller, recipe, tokenizer)}))
        course.save()
    return speller.encoder, course


@torch.no_grad()
def reading(
    speller: Speller, recipe: DiffusionRecipe, tokenizer: CLIPTokenizer, batches: int = 20
) -> float:
    """The share of unseen captions whose every attribute is named rightly at the last token."""
    speller.eval()
    right = total = 0
    for step in range(recipe.text.steps, recipe.text.steps + batches):
        captions, texts = _batch(recipe, step)
        scores = speller(tokens_of(tokenizer, texts).to(recipe.device))
        named = torch.stack([answer[:, :, -1].argmax(1) for answer in scores], dim=1).cpu()
        right += int((named == answers(captions)).all(1).sum())
        total += len(texts)
    return right / total


def _batch(recipe: DiffusionRecipe, step: int) -> tuple[list[Caption], list[str]]:
    first = step * recipe.text.batch
    rng = np.random.default_rng((recipe.seed, 1, step))
    return worded(recipe, range(first, first + recipe.text.batch), rng)
