"""Taking jobs by real arq workers, with work that takes no GPU."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import pytest
from arq.connections import ArqRedis

from jobs import keys
from jobs.connection import connect
from jobs.model import AdmittedRequest, Job, JobStatus
from jobs.settings import Settings
from jobs.signals import Signals
from jobs.store import JobStore
from worker.taker import MAX_DELIVERING, Taker

MODEL = "shapes-sd"
Until = Callable[..., Awaitable[Job]]
Taking = Callable[..., AbstractAsyncContextManager[Taker]]


@pytest.fixture
def taking(settings: Settings, redis: ArqRedis) -> Taking:
    """A taker that ends each job as soon as it is allowed to, on a connection of its own."""

    @asynccontextmanager
    async def run(allowed: asyncio.Event | None = None, **changes: object) -> AsyncIterator[Taker]:
        chosen = settings.model_copy(update=changes)
        connection = connect(chosen)
        store = JobStore(connection, chosen)

        async def develop(job_id: str, model: str, on_developed: Callable[[], None]) -> None:
            claimed = await store.claim(job_id, model, "here:1:abc")
            if claimed and (allowed is None or await allowed.wait()):
                await store.succeed(claimed[1], [])

        signals = Signals(connection)
        taker = Taker(chosen, connection, signals, MODEL, develop)
        work = [asyncio.create_task(task) for task in (signals.listen(), taker.take())]
        async with asyncio.timeout(10):
            while not (await redis.pubsub_numsub(keys.bell(MODEL)))[0][1]:
                await asyncio.sleep(0.01)
        try:
            yield taker
        finally:
            await taker.drain(0)
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await connection.aclose()

    return run


def finished(job: Job) -> bool:
    return job.status.finished


async def test_an_idle_taker_starts_a_job_long_before_its_next_poll(
    taking: Taking, until: Until, store: JobStore, request_: AdmittedRequest
) -> None:
    async with taking(poll_delay_s=10):
        job = await store.submit(request_)
        done = await until(job.id, finished, 5)
    assert done.status is JobStatus.SUCCEEDED


async def test_a_full_taker_takes_the_next_job_as_soon_as_one_ends(
    taking: Taking, until: Until, store: JobStore, request_: AdmittedRequest
) -> None:
    async with taking(poll_delay_s=10, worker_jobs=1):
        jobs = [await store.submit(request_) for _ in range(5)]
        for job in jobs:
            await until(job.id, finished, 5)


async def test_lost_connections_cost_no_slots(
    taking: Taking, until: Until, store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    async with taking(worker_jobs=2, poll_delay_s=0.01) as taker:
        for _ in range(6):
            job = await store.submit(request_)
            await redis.client_kill_filter(_type="normal", skipme=True)
            await redis.client_kill_filter(_type="pubsub", skipme=True)
            await until(job.id, finished, 30)
        async with asyncio.timeout(5):
            while taker.job_counter:
                await asyncio.sleep(0.01)
    assert taker.sem._value == 2 + MAX_DELIVERING + 1


async def test_running_jobs_do_not_hide_waiting_ones_from_a_free_taker(
    store: JobStore, taking: Taking, until: Until, request_: AdmittedRequest
) -> None:
    """More jobs run than a taker reads at once, and all of them came first."""
    never = asyncio.Event()
    async with AsyncExitStack() as busy:
        for _ in range(4):
            await busy.enter_async_context(taking(never, worker_jobs=40, lease_s=60))
        running = [await store.submit(request_) for _ in range(160)]
        for job in running:
            await until(job.id, lambda job: job.status is JobStatus.RUNNING, 30)
        waiting = await store.submit(request_)
        async with taking(worker_jobs=10, poll_delay_s=10) as free:
            assert free.queue_read_limit == 100
            done = await until(waiting.id, finished, 5)
    assert done.status is JobStatus.SUCCEEDED


async def test_a_silent_holder_s_job_starts_elsewhere_within_two_leases(
    taking: Taking, until: Until, store: JobStore, settings: Settings, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    # A holder that claims the job and is never heard of again.
    assert await store.claim(job.id, MODEL, "gone:1:abc") is not None
    silent_since = time.monotonic()
    async with taking(poll_delay_s=0.1):
        done = await until(job.id, finished, 10)
    assert done.status is JobStatus.SUCCEEDED
    assert [attempt.worker for attempt in done.attempts] == ["gone:1:abc", "here:1:abc"]
    assert time.monotonic() - silent_since > settings.lease_s * 0.9, "a live lease was broken"
