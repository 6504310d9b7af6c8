"""The Janus processor of the demo model: a chat tokenizer, a chat template, an image processor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, models, normalizers, processors
from transformers import BatchFeature, JanusProcessor, PreTrainedTokenizerFast
from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

from pipelines.demo.recipe import JanusRecipe
from pipelines.demo.tokenizer import alphabet_of_bytes, learn_merges, word_splitter

BEGIN, END, PAD = "<|begin_of_sentence|>", "<|end_of_sentence|>", "<|pad|>"
USER, ASSISTANT = "<|User|>", "<|Assistant|>"
IMAGE, BEGIN_OF_IMAGE, END_OF_IMAGE = "<image_placeholder>", "<begin_of_image>", "<end_of_image>"
SPECIAL = (BEGIN, END, PAD, USER, ASSISTANT, IMAGE, BEGIN_OF_IMAGE, END_OF_IMAGE)

#: The conversation as Janus writes it, `<|User|>: ...`, a blank line, `<|Assistant|>:`.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'].capitalize() + '|>: ' -}}"
    "{%- for part in message['content'] -%}"
    "{{- '<image_placeholder>\n' if part['type'] == 'image' else part['text'].strip() -}}"
    "{%- endfor -%}"
    "{{- '\n\n' if message['role'] == 'user' else '<|end_of_sentence|>' -}}"
    "{%- endfor -%}"
    "{{- '<|Assistant|>:' if add_generation_prompt -}}"
)


def learn_processor(captions: Iterable[str], recipe: JanusRecipe) -> JanusProcessor:
    """A processor whose tokenizer spells with byte-pair merges learnt from `captions`."""
    return JanusProcessor(
        image_processor=JanusImageProcessorPil(
            size={"height": recipe.picture, "width": recipe.picture},
            image_mean=(0.5, 0.5, 0.5),
            image_std=(0.5, 0.5, 0.5),
        ),
        tokenizer=_learn_tokenizer(captions, recipe),
        chat_template=CHAT_TEMPLATE,
        num_image_tokens=recipe.grid**2,
    )


def prompt_tokens(processor: JanusProcessor, texts: Sequence[str]) -> BatchFeature:
    """What transformers' `generate` draws from: `input_ids` and `attention_mask`, each
    `(batch, length)` and padded on the left. Each text is a user's only message."""
    conversations = [
        processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "text", "text": text}]}],
            add_generation_prompt=True,
            tokenize=False,
        )
        for text in texts
    ]
    return processor(text=conversations, generation_mode="image", padding=True, return_tensors="pt")


def _learn_tokenizer(captions: Iterable[str], recipe: JanusRecipe) -> PreTrainedTokenizerFast:
    """The special tokens, every byte inside and ending a word, and the words of captions."""
    merges = learn_merges(captions, recipe.vocabulary)
    tokens = [*SPECIAL, *alphabet_of_bytes(), *("".join(merge) for merge in merges)]
    numbers = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=merges, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = word_splitter()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, numbers[BEGIN])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens={
            "image_token": IMAGE,
            "boi_token": BEGIN_OF_IMAGE,
            "eoi_token": END_OF_IMAGE,
            "user_token": USER,
            "assistant_token": ASSISTANT,
        },
        padding_side="left",
        model_max_length=recipe.max_tokens,
    )
