"""Who waits for something that Redis announces is woken at once, and need not poll fast."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arq.connections import ArqRedis
from redis.asyncio.client import PubSub

from jobs.connection import redis_errors
from jobs.errors import StoreUnavailableError
from jobs.tasks import is_told_to_end

#: Between two tries to hear Redis again.
RETRY_S = 1.0


class Ring:
    """What one waiter waits for: it may have rung before the wait begins."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the waiter, now or when it next waits."""
        self._rung.set()

    async def wait(self, timeout_s: float) -> None:
        """Until it rings, or the time is up."""
        # Not `wait_for`: before Python 3.12 it swallows a cancellation that meets the ring.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        self._rung.clear()


class Signals:
    """All channels of a process over one connection, however many wait; `listen` must run."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._waiting: dict[bytes, set[Ring]] = {}
        self._connected: PubSub | None = None

    @asynccontextmanager
    async def on(self, channel: str) -> AsyncIterator[Ring]:
        """Hear a channel for the length of a block.

        It rings for each message, and once when Redis has confirmed the subscription: who looks
        then, and after each further ring, misses nothing.
        """
        name, ring = channel.encode(), Ring()
        rings = self._waiting.setdefault(name, set())
        rings.add(ring)
        if len(rings) == 1:
            await self._quietly("subscribe", name)
        elif self._connected:
            # It is subscribed already, or will be heard of when that is confirmed.
            ring.ring()
        try:
            yield ring
        finally:
            rings.discard(ring)
            if not rings and self._waiting.get(name) is rings:
                del self._waiting[name]
                await self._quietly("unsubscribe", name)

    async def listen(self) -> None:
        """Hear Redis for ever, through its absences."""
        while not is_told_to_end():
            with contextlib.suppress(StoreUnavailableError), redis_errors():
                await self._hear()
            await asyncio.sleep(RETRY_S)

    async def _hear(self) -> None:
        async with self._redis.pubsub() as connection:
            await connection.connect()
            if self._waiting:
                await connection.subscribe(*self._waiting)
            self._connected = connection
            try:
                await self._ring_for(connection)
            finally:
                # Before it is closed: whoever still unsubscribed would open it again.
                self._connected = None

    async def _ring_for(self, connection: PubSub) -> None:
        while not is_told_to_end():
            # A silent line must not look like a dead one: this returns None when time is up.
            message = await connection.get_message(timeout=60.0)
            if message is not None and message["type"] in ("subscribe", "message"):
                for ring in self._waiting.get(message["channel"], ()):
                    ring.ring()

    async def _quietly(self, action: str, channel: bytes) -> None:
        """While the connection is away nobody hears anything; its return subscribes anew."""
        if self._connected:
            with contextlib.suppress(StoreUnavailableError), redis_errors():
                await getattr(self._connected, action)(channel)
