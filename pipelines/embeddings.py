"""Text already encoded, kept for the next image that says the same."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch

#: A text, or its tokens.
Text = TypeVar("Text", bound=Hashable)


@dataclass(frozen=True)
class Embedding:
    """A text as a model reads it."""

    #: By argument name, one row each: (1, ...).
    tensors: Mapping[str, torch.Tensor]
    warnings: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())


class EmbeddingCache:
    """The embeddings used last, up to a number of bytes on the device."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[Hashable, Embedding] = OrderedDict()
        self._size_bytes = 0

    def get(self, text: Text, encode: Callable[[Text], Embedding]) -> Embedding:
        """The text's embedding, encoded now if it is not kept."""
        if text in self._kept:
            self._kept.move_to_end(text)
            return self._kept[text]
        embedding = encode(text)
        self._kept[text] = embedding
        self._size_bytes += embedding.size_bytes
        while self._size_bytes > self._limit_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._size_bytes -= dropped.size_bytes
        return embedding
