"""A tiny Janus with random weights, in the structure of the published ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel
from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

#: Tokens in a row of a picture, and pixels that a token stands for on a side.
GRID, PATCH = 4, 4
MARKS = {"bos_token": "<begin>", "eos_token": "<end>", "pad_token": "<pad>"}
IMAGE_MARKS = {
    "image_token": "<image>",
    "boi_token": "<begin_of_image>",
    "eoi_token": "<end_of_image>",
}
TEMPLATE = """\
{{ bos_token }}{% for message in messages %}<|User|>: {{ message['content'][0]['text'] }}

{% endfor %}{% if add_generation_prompt %}<|Assistant|>:{% endif %}"""


@dataclass
class TinyJanus:
    """What `save_pretrained` writes into one folder."""

    model: transformers.JanusForConditionalGeneration
    processor: transformers.JanusProcessor

    def save_pretrained(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Bytes for words: no merges, so every text has many tokens."""
    words = [*sorted(ByteLevel.alphabet()), *MARKS.values(), *IMAGE_MARKS.values()]
    bytes_only = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, []))
    bytes_only.pre_tokenizer = ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, extra_special_tokens=IMAGE_MARKS, **MARKS
    )


def janus() -> TinyJanus:
    words = tokenizer()
    processor = transformers.JanusProcessor(
        JanusImageProcessorPil(
            size={"height": GRID * PATCH, "width": GRID * PATCH},
            image_mean=[0.5, 0.45, 0.4],
            image_std=[0.5, 0.45, 0.4],
        ),
        words,
        chat_template=TEMPLATE,
        num_image_tokens=GRID**2,
    )
    model = transformers.JanusForConditionalGeneration(_config(words)).eval()
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        generation_kwargs={"boi_token_id": words.convert_tokens_to_ids(words.boi_token)},
    )
    # Random weights take the same token every time; flatter scores leave something to be drawn.
    with torch.no_grad():
        model.model.generation_head.vision_head.weight *= 0.2
    return TinyJanus(model, processor)


def _config(words: Any) -> transformers.JanusConfig:
    width = 32
    return transformers.JanusConfig(
        text_config=transformers.LlamaConfig(
            vocab_size=len(words),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.3,
            pad_token_id=words.pad_token_id,
        ),
        vision_config=transformers.JanusVisionConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=GRID * PATCH,
            patch_size=PATCH,
            num_image_tokens=GRID**2,
            projection_dim=width,
        ),
        vq_config=transformers.JanusVQVAEConfig(
            embed_dim=8,
            num_embeddings=64,
            latent_channels=32,
            base_channels=32,
            channel_multiplier=[1, 1, 1],
            num_res_blocks=1,
            projection_dim=width,
            image_token_embed_dim=width,
        ),
        image_token_id=words.convert_tokens_to_ids(words.image_token),
    )
