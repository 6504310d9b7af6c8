"""Tells a device that works from one that hangs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pulse:
    """When each piece of work on the device began that has not ended yet."""

    def __init__(self) -> None:
        self._begun_s: dict[int, float] = {}

    @contextmanager
    def beat(self) -> Iterator[None]:
        """Around one piece of work of the calling thread."""
        thread = threading.get_ident()
        self._begun_s[thread] = time.monotonic()
        try:
            yield
        finally:
            del self._begun_s[thread]

    @property
    def longest_s(self) -> float:
        """How long the longest piece under way has been so, in seconds; 0 when there is none."""
        begun = list(self._begun_s.values())
        return time.monotonic() - min(begun) if begun else 0.0
