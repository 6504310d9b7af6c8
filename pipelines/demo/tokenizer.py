"""A vocabulary of its own for each demo model, learnt from captions."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"


def learn_tokenizer(captions: Iterable[str], *, vocabulary: int, max_tokens: int) -> CLIPTokenizer:
    """Byte-pair merges from `captions`, over CLIP's alphabet: every byte, inside and ending a word.

    The whole alphabet is in, seen or not: CLIP reads an unknown token as the end of the text.
    """
    merges = learn_merges(captions, vocabulary)
    tokens = [*alphabet_of_bytes(), *("".join(merge) for merge in merges), START, END]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(dict.fromkeys(tokens))},
        merges=merges,
        model_max_length=max_tokens,
    )


def alphabet_of_bytes() -> list[str]:
    """Every byte inside a word, then every byte ending one."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return [*letters, *(f"{letter}</w>" for letter in letters)]


def word_splitter() -> pre_tokenizers.PreTokenizer:
    """Words and punctuation marks apart, and each as bytes."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Whitespace(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def learn_merges(captions: Iterable[str], vocabulary: int) -> list[tuple[str, str]]:
    """The merges, most frequent first, that make a vocabulary of `vocabulary` tokens at most."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = word_splitter()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(letters) - 2,
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return [(left, right) for left, right in merges]
