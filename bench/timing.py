"""How the benchmarks on a GPU take a time."""

import time
from collections.abc import Callable


def seconds_of(work: Callable[[], None]) -> float:
    """The second of two runs: the first compiles, captures and fills caches."""
    work()
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s
