"""Which jobs may be under way together: those that may have killed a worker go alone."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Company:
    """Any number of jobs together, or one alone; whoever came first enters first.

    A job that crashes its worker takes all others down with it. Were it always in company, its
    innocent neighbours would use up their attempts together with it.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._is_alone = False
        self._line: deque[tuple[bool, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def join(self, *, alone: bool) -> AsyncIterator[Callable[[], None]]:
        """Be in the company for the length of a block, or until its callback is called."""
        await self._enter(alone)
        is_inside = True

        def leave() -> None:
            nonlocal is_inside
            if is_inside:
                is_inside = False
                self._leave()

        try:
            yield leave
        finally:
            leave()

    async def _enter(self, alone: bool) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._line.append((alone, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._admit()
            else:
                self._leave()
            raise

    def _leave(self) -> None:
        self._inside -= 1
        self._is_alone = False
        self._admit()

    def _admit(self) -> None:
        while self._line:
            alone, turn = self._line[0]
            if not turn.cancelled():
                if self._is_alone or (alone and self._inside):
                    return
                self._inside += 1
                self._is_alone = alone
                turn.set_result(None)
            self._line.popleft()
