"""A language model over slots: every pass reads one token of each and scores what may follow."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

from pipelines.cores import Cores, cores, shares_of
from pipelines.graphs import Graphs
from pipelines.prompts import Tokens
from pipelines.slots import POSITIONS, SlotCache, Slots
from pipelines.tuning import Tuning, bucket_of
from pipelines.weights import loaded_bytes

#: On a GPU positions are read in multiples of this, so that few lengths have to be captured.
_CUDA_LENGTH = 128


class Read(NamedTuple):
    """What a slot reads next."""

    #: A row of the model's input table.
    token: int
    position: int


class TokenModel:
    """Runs transformers' own modules over the first so many slots, in place.

    On a GPU a pass is captured for each shape that occurs, with the rows padded up to a power of
    two; on a CPU a large one is shared among the cores.
    """

    def __init__(
        self,
        language_model: Any,
        head: Any,
        inputs: torch.Tensor,
        *,
        slots: int,
        length: int,
    ) -> None:
        """
        Args:
            language_model: a Llama-like decoder without its own head.
            head: makes scores of what the decoder makes.
            inputs: what may be read, as the decoder takes it, (numbers, width).
            slots: how many rows can be under way.
            length: positions of a slot.
        """
        self.language_model, self.head, self._inputs = language_model, head, inputs
        self.device = inputs.device
        self.slots = self._make_slots(slots, length)
        is_cuda = self.device.type == "cuda"
        self._graphs = Graphs(self._scores) if is_cuda else None
        self._cores: Cores | None = None
        self._length_step = _CUDA_LENGTH if is_cuda else POSITIONS
        powers = (2**power for power in range((slots - 1).bit_length()))
        self._row_buckets = (*powers, slots) if is_cuda else ()

    @property
    def size_bytes(self) -> int:
        weights = loaded_bytes((self.language_model, self.head))
        return weights + self._inputs.nbytes + self.slots.size_bytes

    def tune(self, tuning: Tuning) -> None:
        """See `Pipeline.tune`; with a single row bucket, every pass has one and the same shape."""
        threads = tuning.cpu_threads or torch.get_num_threads()
        is_shared = self.device.type == "cpu" and threads > 1 and not tuning.compiled
        self._cores = cores(threads) if is_shared else None
        if tuning.row_buckets:
            self._row_buckets = tuning.row_buckets
            # An image may need two.
            count, length = max(2, tuning.row_buckets[-1]), self.slots.length
            if count < self.slots.count:
                # The old ones leave first, for both might not fit.
                del self.slots
                self.slots = self._make_slots(count, length)
        if len(tuning.row_buckets) == 1:
            self._length_step = self.slots.length
        if tuning.compiled:
            # What needs no cache, for with it every layer would be compiled on its own.
            for layer in self.language_model.layers:
                for part in (layer.input_layernorm, layer.post_attention_layernorm, layer.mlp):
                    part.compile(fullgraph=True, dynamic=True)

    def prefill(self, tokens: Tokens) -> torch.Tensor:
        """What the model keeps of a text, for `Slots.fill`; any number of tokens in one pass."""
        cache = DynamicCache(config=self.language_model.config)
        ids = torch.tensor([tokens], device=self.device)
        self.language_model(input_ids=ids, cache=cache, use_cache=True)
        return torch.stack([torch.cat([layer.keys, layer.values]) for layer in cache.layers])

    def read(self, reads: Mapping[int, Read]) -> torch.Tensor:
        """One pass over slots that each read a token.

        Slots in between that read nothing are run all the same, and write where nobody reads.

        Returns:
            The scores of what may follow, (slots, numbers) in float32.
        """
        rows = min(bucket_of(1 + max(reads), self._row_buckets), self.slots.count)
        nothing = (0, 0, self.slots.length)
        table = [nothing] * rows
        for slot, (token, position) in reads.items():
            table[slot] = (token, position, position)
        length = 1 + max(position for _, position in reads.values())
        length = min(math.ceil(length / self._length_step) * self._length_step, self.slots.length)
        inputs = torch.tensor(table, device=self.device).T.contiguous()
        return self._graphs.run(inputs, length) if self._graphs else self._shared(inputs, length)

    def _shared(self, table: torch.Tensor, length: int) -> torch.Tensor:
        """`_scores`, with the rows shared among CPU cores where that pays."""
        rows = table.shape[1]
        # Memory is measured on one thread only.
        if self._cores is None or torch._C._len_torch_dispatch_stack():
            return self._scores(table, length)
        shares = shares_of(rows, self._cores.count, equal=bool(self._row_buckets))
        size = math.ceil(rows / shares)

        @torch.inference_mode()
        def scores(first: int) -> torch.Tensor:
            return self._scores(table[:, first : first + size], length, first)

        return torch.cat(self._cores.run(scores, range(0, rows, size)))

    def _scores(self, table: torch.Tensor, length: int, first: int = 0) -> torch.Tensor:
        """
        Args:
            table: of each slot the token that it reads, the token's position, and the position
                where its keys and values go; (3, slots).
            length: positions that attention looks at, at most.
            first: the first slot.
        """
        tokens, positions, places = table
        rows = table.shape[1]
        is_later = torch.arange(length, device=self.device) > positions.unsqueeze(1)
        mask = torch.zeros(rows, 1, 1, length, dtype=self._inputs.dtype, device=self.device)
        mask.masked_fill_(is_later[:, None, None], -torch.inf)
        output = self.language_model(
            inputs_embeds=self._inputs[tokens].unsqueeze(1),
            attention_mask=mask,
            position_ids=positions.unsqueeze(1),
            cache=SlotCache(self.slots.tensor[:, :, first : first + rows], places, length),
            use_cache=True,
        )
        scores: torch.Tensor = self.head(output.last_hidden_state[:, 0])
        return scores.float()

    def _make_slots(self, count: int, length: int) -> Slots:
        config = self.language_model.config
        return Slots(config, count, length, device=self.device, dtype=self._inputs.dtype)
