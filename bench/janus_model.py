"""Janus with random weights, in the shape of a published one or a small one."""

from dataclasses import dataclass

import torch
import transformers
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import ByteLevel
from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

from pipelines.formats import ModelAndProcessor

_MARKS = {"bos_token": "<begin>", "eos_token": "<end>", "pad_token": "<pad>"}
_IMAGE_MARKS = {
    "image_token": "<image>",
    "boi_token": "<begin_of_image>",
    "eoi_token": "<end_of_image>",
}
_TEMPLATE = """\
{{ bos_token }}{% for message in messages %}<|User|>: {{ message['content'][0]['text'] }}

{% endfor %}{% if add_generation_prompt %}<|Assistant|>:{% endif %}"""


@dataclass(frozen=True)
class Shape:
    """How large a model is."""

    width: int
    layers: int
    heads: int
    mlp: int
    vocabulary: int
    codes: int
    #: Image tokens to a row of the picture, and pixels that each stands for.
    grid: int
    patch: int
    vq_channels: int
    vq_multiplier: tuple[int, ...]
    #: Layers of the tower that looks at pictures; drawing needs none.
    vision_layers: int = 1

    @property
    def side(self) -> int:
        return self.grid * self.patch

    @property
    def image_tokens(self) -> int:
        return self.grid**2


#: deepseek-community/Janus-Pro-7B, by its config.json, but for the tower that looks at pictures.
PRO_7B = Shape(
    width=4096,
    layers=30,
    heads=32,
    mlp=11008,
    vocabulary=102400,
    codes=16384,
    grid=24,
    patch=16,
    vq_channels=128,
    vq_multiplier=(1, 1, 2, 2, 4),
)
SMALL = Shape(
    width=128,
    layers=3,
    heads=4,
    mlp=256,
    vocabulary=512,
    codes=256,
    grid=4,
    patch=4,
    vq_channels=32,
    vq_multiplier=(1, 1, 1),
)


def build(shape: Shape, device: torch.device, dtype: torch.dtype) -> ModelAndProcessor:
    """The model with random weights, made where they stay, and a processor of bytes for words."""
    words = _tokenizer()
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = transformers.JanusForConditionalGeneration(_config(shape, words)).eval()
    finally:
        torch.set_default_dtype(torch.float32)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        generation_kwargs={"boi_token_id": words.convert_tokens_to_ids(words.boi_token)},
    )
    size = {"height": shape.side, "width": shape.side}
    images = JanusImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    processor = transformers.JanusProcessor(
        images, words, chat_template=_TEMPLATE, num_image_tokens=shape.image_tokens
    )
    return ModelAndProcessor(model, processor)


def _tokenizer() -> transformers.PreTrainedTokenizerFast:
    words = [*sorted(ByteLevel.alphabet()), *_MARKS.values(), *_IMAGE_MARKS.values()]
    bytes_only = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, []))
    bytes_only.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, extra_special_tokens=_IMAGE_MARKS, **_MARKS
    )


def _config(shape: Shape, words: transformers.PreTrainedTokenizerFast) -> transformers.JanusConfig:
    return transformers.JanusConfig(
        text_config=transformers.LlamaConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            intermediate_size=shape.mlp,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=16384,
            pad_token_id=words.pad_token_id,
        ),
        vision_config=transformers.JanusVisionConfig(
            hidden_size=64,
            num_attention_heads=2,
            num_hidden_layers=shape.vision_layers,
            image_size=shape.side,
            patch_size=shape.patch,
            num_image_tokens=shape.image_tokens,
            projection_dim=shape.width,
        ),
        vq_config=transformers.JanusVQVAEConfig(
            num_embeddings=shape.codes,
            latent_channels=2 * shape.vq_channels,
            base_channels=shape.vq_channels,
            channel_multiplier=shape.vq_multiplier,
            projection_dim=shape.width,
            image_token_embed_dim=shape.width,
        ),
        image_token_id=words.convert_tokens_to_ids(words.image_token),
        tie_word_embeddings=False,
    )
