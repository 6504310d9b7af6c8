"""The bell wakes who waits, and its waiter can always be stopped."""

import asyncio

from arq.connections import ArqRedis

from jobs.bell import Bell
from jobs.model import AdmittedRequest
from jobs.store import JobStore

MODEL = "shapes-sd"


async def test_a_submit_wakes_a_waiting_worker_at_once(
    redis: ArqRedis, store: JobStore, request_: AdmittedRequest
) -> None:
    bell = Bell(redis, [MODEL, "other"])
    listening = asyncio.create_task(bell.listen())
    async with asyncio.timeout(10):
        while not (await redis.pubsub_numsub("darkroom:bell:shapes-sd"))[0][1]:
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(bell.wait(MODEL, timeout_s=60))
        await store.submit(request_)
        await waiting
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_a_silent_bell_lets_go_when_time_is_up(redis: ArqRedis) -> None:
    async with asyncio.timeout(10):
        await Bell(redis, [MODEL]).wait(MODEL, timeout_s=0.01)


async def test_a_waiter_is_stopped_even_as_the_bell_rings(redis: ArqRedis) -> None:
    bell = Bell(redis, [MODEL])
    waiting = asyncio.create_task(bell.wait(MODEL, timeout_s=60))
    await asyncio.sleep(0)
    bell.ring(MODEL)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
