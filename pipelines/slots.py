"""The keys and values of every image under way, in one block of memory that never grows."""

import heapq
import math
import threading
from typing import Any

import torch
from transformers import Cache, PretrainedConfig

from pipelines.device import wait_for

#: Positions are read in multiples of this. A CPU adds up what they hold in vectors of so many
#: numbers, and the rest in another order: with none left over, how far others are changes no bit.
POSITIONS = 16


def slots_shape(config: PretrainedConfig, count: int, length: int) -> tuple[int, ...]:
    """(layers, 2, slots, heads, positions + 1, head size): keys and values of a language model.

    The last position is nobody's: rows that only fill up a batch write there.
    """
    head_size = getattr(config, "head_dim", None)
    return (
        config.num_hidden_layers,
        2,
        count,
        config.num_key_value_heads,
        math.ceil(length / POSITIONS) * POSITIONS + 1,
        head_size or config.hidden_size // config.num_attention_heads,
    )


class Slots:
    """A slot holds one row of the batch for as long as its image is under way.

    A step runs the first so many slots, in place: nothing is gathered. So the lowest free slots are
    taken first, and images move down into what others leave. Slots are taken and filled on one
    thread while a step runs on another: a slot that is not in a step is read by it only to be
    ignored, and never written.
    """

    def __init__(
        self,
        config: PretrainedConfig,
        count: int,
        length: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """
        Args:
            length: positions of one slot, at least.
        """
        self.tensor = torch.zeros(slots_shape(config, count, length), device=device, dtype=dtype)
        self.count, self.length = count, self.tensor.shape[-2] - 1
        self._free = list(range(count))
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        return self.tensor.numel() * self.tensor.element_size()

    @property
    def free(self) -> int:
        with self._lock:
            return len(self._free)

    def take(self, count: int) -> tuple[int, ...]:
        """The lowest free slots. Ask whether there are so many before."""
        with self._lock:
            return tuple(heapq.heappop(self._free) for _ in range(count))

    def give_back(self, slots: tuple[int, ...]) -> None:
        with self._lock:
            for slot in slots:
                heapq.heappush(self._free, slot)

    def fill(self, slot: int, prefix: torch.Tensor) -> None:
        """Begin a slot with keys and values made elsewhere, (layers, 2, heads, n, head size)."""
        self.tensor[:, :, slot, :, : prefix.shape[-2]] = prefix

    def move_down(self, slots: tuple[int, ...], filled: int) -> tuple[int, ...]:
        """Move what is in slots into lower ones where such are free.

        Args:
            filled: positions of each slot that matter.

        Returns:
            Where it is now.
        """
        with self._lock:
            return tuple(self._move_down(slot, filled) for slot in slots)

    def _move_down(self, slot: int, filled: int) -> int:
        if not self._free or self._free[0] > slot:
            return slot
        lower = heapq.heapreplace(self._free, slot)
        self.tensor[:, :, lower, :, :filled] = self.tensor[:, :, slot, :, :filled]
        # Before anybody else may write into what was left.
        wait_for(self.tensor.device)
        return lower


class SlotCache(Cache):
    """What one forward pass of one token a row reads and writes of the first slots."""

    def __init__(self, slots: torch.Tensor, places: torch.Tensor, length: int) -> None:
        """
        Args:
            slots: (layers, 2, rows, heads, positions, head size).
            places: the position that each row writes, (rows,).
            length: how many positions are read; those beyond what a row has are for its mask.
        """
        super().__init__(layers=[])
        self._slots, self._places, self._length = slots, places, length
        self._rows = torch.arange(len(places), device=places.device)

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in (rows, heads, 1, head size) of a layer; returns all that the layer may read."""
        keys, values = self._slots[layer_idx]
        keys[self._rows, :, self._places] = key_states[:, :, 0]
        values[self._rows, :, self._places] = value_states[:, :, 0]
        return keys[:, :, : self._length], values[:, :, : self._length]
