"""Steps of a static shape as CUDA graphs: one launch instead of thousands."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

Work = Callable[[torch.Tensor, int], torch.Tensor]


@dataclass
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: torch.Tensor
    output: torch.Tensor


class Graphs:
    """Some work on one device, captured when a shape is first seen and replayed from then on."""

    def __init__(self, work: Work) -> None:
        """
        Args:
            work: makes a tensor of a tensor and a number; it must not copy from or to the CPU.
        """
        self._work = work
        self._captured: dict[tuple[tuple[int, ...], int], _Captured] = {}
        #: One memory for all, as only one runs at a time.
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, inputs: torch.Tensor, number: int) -> torch.Tensor:
        """The work's output, which the next run overwrites."""
        key = (tuple(inputs.shape), number)
        if key not in self._captured:
            self._captured[key] = self._capture(inputs, number)
        captured = self._captured[key]
        captured.inputs.copy_(inputs, non_blocking=True)
        captured.graph.replay()
        return captured.output

    def _capture(self, inputs: torch.Tensor, number: int) -> _Captured:
        inputs = inputs.clone()
        # Once for real: libraries set themselves up, and compilers compile, in the first run.
        self._work(inputs, number)
        graph = torch.cuda.CUDAGraph()
        # Other threads go on using the device meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            output = self._work(inputs, number)
        return _Captured(graph, inputs, output)
