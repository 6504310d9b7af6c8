"""A bell that rings when a job is put in line, so that an idle worker need not poll fast."""

import asyncio
import contextlib

from arq.connections import ArqRedis

from jobs import keys
from jobs.connection import redis_errors
from jobs.errors import StoreUnavailableError
from jobs.tasks import is_told_to_end

#: Between two tries to hear Redis again.
RETRY_S = 1.0


class Bell:
    """Hears of new jobs through Redis; what it misses, the next poll finds."""

    def __init__(self, redis: ArqRedis, models: list[str]) -> None:
        self._redis = redis
        self._rung = {keys.bell(model).encode(): asyncio.Event() for model in models}

    def ring(self, model: str) -> None:
        """Wake whoever waits for a model's jobs in this process."""
        self._rung[keys.bell(model).encode()].set()

    async def wait(self, model: str, timeout_s: float) -> None:
        """Until the bell rings for a model, or the time is up."""
        rung = self._rung[keys.bell(model).encode()]
        # Not `wait_for`: before Python 3.12 it swallows a cancellation that meets the bell's ring.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await rung.wait()
        rung.clear()

    async def listen(self) -> None:
        """Hear Redis for ever, through its absences."""
        while not is_told_to_end():
            with contextlib.suppress(StoreUnavailableError), redis_errors():
                await self._hear()
            await asyncio.sleep(RETRY_S)

    async def _hear(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(*self._rung)
            while not is_told_to_end():
                # A silent line must not look like a dead one: this returns None when time is up.
                message = await channel.get_message(timeout=60.0)
                if message is not None:
                    self._rung[message["channel"]].set()
