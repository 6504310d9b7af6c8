"""How many clients are held or streamed to at once: each takes a connection and memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from api.problems import Problem

#: When a place may be free again; nobody can say how long the others wait.
RETRY_AFTER_S = 5


class Waiters:
    """The places there are."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def place(self, is_needed: bool = True) -> Iterator[None]:
        """One place for the length of a block, if one is needed.

        Raises:
            Problem: `too-many-waiters`: all are taken.
        """
        if is_needed and self._taken >= self._most:
            detail = f"{self._most} clients wait already, and no more may"
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            raise Problem("too-many-waiters", detail, headers=headers)
        self._taken += is_needed
        try:
            yield
        finally:
            self._taken -= is_needed
