"""Prompts of chat models, as the tokens that they read."""

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class ChatPrompt:
    """A prompt up to the mark that begins the picture, which is left to the first step."""

    tokens: Tokens
    #: What guidance pulls away from: as long, with padding for everything that was said.
    unconditional: Tokens
    warnings: tuple[str, ...] = ()


class ChatPrompts:
    """Puts prompts into the form that a model was trained with: its processor's chat template."""

    def __init__(self, processor: Any, generation: Any, max_tokens: int) -> None:
        """
        Args:
            processor: a `JanusProcessor`.
            generation: the model's `GenerationConfig`, whose marks go before the processor's.
            max_tokens: the template's tokens and the prompt's together, at most.
        """
        words = processor.tokenizer
        self._processor = processor
        #: The mark that begins a picture; the processor ends every prompt with it.
        self.begin: int = words.convert_tokens_to_ids(processor.image_start_token)
        self._marks = {self.begin, _either(generation.bos_token_id, words.bos_token_id)}
        self._padding = _either(generation.pad_token_id, words.pad_token_id)
        self._max_tokens = max_tokens
        self._frame = self._tokenize("")

    def read(self, text: str) -> ChatPrompt:
        tokens = self._tokenize(text)
        warnings: tuple[str, ...] = ()
        if len(tokens) > self._max_tokens:
            read = f"the model reads the first {self._max_tokens}"
            warnings = (f"prompt: {len(tokens)} tokens, {read}",)
            tokens = self._cut(tokens)
        # As in transformers, whose unconditional half keeps the marks and nothing else.
        silent = (token if token in self._marks else self._padding for token in tokens)
        return ChatPrompt(tokens[:-1], tuple(silent)[:-1], warnings)

    def _tokenize(self, text: str) -> Tokens:
        message = {"role": "user", "content": [{"type": "text", "text": text}]}
        framed = self._processor.apply_chat_template([message], add_generation_prompt=True)
        batch = self._processor(text=framed, generation_mode="image", return_tensors="pt")
        return tuple(batch["input_ids"][0].tolist())

    def _cut(self, tokens: Tokens) -> Tokens:
        """Shortened where the user's words end: what the template says after them stays."""
        pairs = zip(reversed(tokens), reversed(self._frame), strict=False)
        tail = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return tokens[: self._max_tokens - tail] + tokens[len(tokens) - tail :]


def _either(first: int | None, second: int) -> int:
    return second if first is None else first
