"""One large batch over several CPU cores: a share of the rows each, not of each operation.

Operations on small tensors gain little from a second core, and lose what it costs to meet after
each of them. Rows do not depend on each other, so cores that take rows meet once a pass.
"""

import functools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

#: Rows that a share has at least: with fewer, cores wait for each other in Python. Measured with
#: `bench/model.py` on two cores of which another process kept one busy: a step of 32 rows took 80
#: ms in shares and 550 ms together.
MIN_ROWS = 8

Share = TypeVar("Share")
Result = TypeVar("Result")


class Cores:
    """Threads that each run their operations on one core."""

    def __init__(self, count: int) -> None:
        self.count = count
        everyone = threading.Barrier(count + 1)

        def settle() -> None:
            # A thread that was never asked its number takes the process's when it is.
            torch.get_num_threads()
            torch.set_num_threads(1)
            everyone.wait()

        self._threads = ThreadPoolExecutor(count, "darkroom-core", settle)
        for _ in range(count):
            self._threads.submit(int)
        everyone.wait()
        # The number is each thread's own once it is set, and the process's for threads to come.
        torch.set_num_threads(count)

    def run(self, work: Callable[[Share], Result], shares: Sequence[Share]) -> list[Result]:
        """Work on each share at once; raises what any of it raises."""
        return list(self._threads.map(work, shares))


@functools.cache
def cores(count: int) -> Cores:
    """The process's threads; models share them."""
    return Cores(count)


def shares_of(rows: int, count: int, *, equal: bool) -> int:
    """Into how many shares to divide rows among cores; 1 is not at all.

    Args:
        equal: whether shares must be of one size, so that each is computed by the same kernels.
    """
    if rows < MIN_ROWS * count or (equal and rows % count):
        return 1
    return count
