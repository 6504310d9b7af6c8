"""Signals wake who waits, through lost connections too, and a waiter can always be stopped."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from arq.connections import ArqRedis

from jobs import keys
from jobs.model import AdmittedRequest
from jobs.signals import Ring, Signals
from jobs.store import JobStore

MODEL = "shapes-sd"
CHANNEL = keys.bell(MODEL)


@pytest.fixture
async def signals(redis: ArqRedis) -> AsyncIterator[Signals]:
    signals = Signals(redis)
    listening = asyncio.create_task(signals.listen())
    yield signals
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def rings(ring: Ring, within_s: float = 10) -> bool:
    begun = asyncio.get_running_loop().time()
    await ring.wait(within_s)
    return asyncio.get_running_loop().time() - begun < within_s


async def test_a_submit_wakes_a_waiting_worker_at_once(
    signals: Signals, store: JobStore, request_: AdmittedRequest
) -> None:
    async with signals.on(CHANNEL) as ring, signals.on(keys.bell("other")) as other:
        assert await rings(ring), "the subscription itself rings, so that nothing is missed"
        assert await rings(other)
        await store.submit(request_)
        assert await rings(ring)
        assert not await rings(other, 0.05)


async def test_all_who_wait_on_a_channel_are_woken_and_late_comers_look_at_once(
    signals: Signals, redis: ArqRedis
) -> None:
    async with signals.on(CHANNEL) as first:
        assert await rings(first)
        async with signals.on(CHANNEL) as second:
            assert await rings(second)
            await redis.publish(CHANNEL, "")
            assert await rings(first)
            assert await rings(second)


async def test_a_lost_connection_is_mended_and_rings_since_something_may_have_been_missed(
    signals: Signals, redis: ArqRedis
) -> None:
    async with signals.on(CHANNEL) as ring:
        assert await rings(ring)
        await redis.client_kill_filter(_type="pubsub")
        assert await rings(ring)
        await redis.publish(CHANNEL, "")
        assert await rings(ring)


async def test_nobody_left_nothing_subscribed(signals: Signals, redis: ArqRedis) -> None:
    for _ in range(3):
        async with signals.on(CHANNEL) as ring:
            assert await rings(ring)
    async with asyncio.timeout(10):
        while (await redis.pubsub_numsub(CHANNEL))[0][1]:
            await asyncio.sleep(0.01)
    assert signals._waiting == {}


async def test_a_silent_ring_lets_go_when_time_is_up() -> None:
    async with asyncio.timeout(10):
        await Ring().wait(0.01)


async def test_a_waiter_is_stopped_even_as_it_rings() -> None:
    ring = Ring()
    waiting = asyncio.create_task(ring.wait(60))
    await asyncio.sleep(0)
    ring.ring()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
