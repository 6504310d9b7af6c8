"""A worker takes the jobs of the version before its own to their end, and leaves newer ones."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from arq.connections import ArqRedis
from frozen import thaw

from jobs import keys
from jobs.model import AdmittedRequest, Job, JobStatus
from jobs.record import RECORD_VERSION
from jobs.store import JobStore
from worker.develop import Developer

Until = Callable[..., Awaitable[Job]]
Working = Callable[..., AbstractAsyncContextManager[Developer]]


def finished(job: Job) -> bool:
    return job.status.finished


async def test_old_jobs_are_developed(
    working: Working, until: Until, store: JobStore, redis: ArqRedis
) -> None:
    """Those that waited, and the one whose worker did not survive the upgrade."""
    frozen = await thaw(redis, RECORD_VERSION)
    waiting = [frozen.jobs["queued"], *(await store.get_batch(frozen.batch)).jobs]
    async with working():
        for job_id in (*waiting, frozen.jobs["running"]):
            assert (await until(job_id, finished)).status is JobStatus.SUCCEEDED


async def test_a_newer_job_does_not_keep_a_worker_from_its_own(
    working: Working,
    until: Until,
    store: JobStore,
    redis: ArqRedis,
    request_: AdmittedRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    newer, ours = [await store.submit(request_) for _ in range(2)]
    await redis.hset(keys.job(newer.id), "v", str(RECORD_VERSION + 1))  # type: ignore[misc]
    async with working():
        assert (await until(ours.id, finished)).status is JobStatus.SUCCEEDED
        # It has looked at both again since.
        later = await store.submit(request_)
        await until(later.id, finished)
    told = [record.message for record in caplog.records if "newer worker" in record.message]
    assert len(told) == 1
    assert f"job {newer.id} was recorded by a newer version (layout 2)" in told[0]
    assert (await store.get(newer.id)).status is JobStatus.QUEUED
    assert not await redis.exists(keys.in_progress(newer.id))
