"""Jobs are taken in once for each idempotency key, and all of a batch or none of it."""

import asyncio

import pytest
from arq.connections import ArqRedis

from jobs import keys
from jobs.errors import IdempotencyError, QueueFullError
from jobs.model import AdmittedRequest
from jobs.settings import Settings
from jobs.store import JobStore

MODEL = "shapes-sd"


async def queued_ids(redis: ArqRedis) -> list[str]:
    return [member.decode() for member in await redis.zrange(keys.queue(MODEL), 0, -1)]


async def test_concurrent_duplicates_make_one_job(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    submits = [
        store.submit(request_, idempotency_key="once", fingerprint="same") for _ in range(20)
    ]
    jobs = await asyncio.gather(*submits)
    assert len({job.id for job in jobs}) == 1
    assert len(await queued_ids(redis)) == 1


async def test_a_reused_idempotency_key_changes_nothing(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    await store.submit(request_, idempotency_key="once", fingerprint="one")
    before = await redis.dbsize()
    with pytest.raises(IdempotencyError):
        await store.submit(request_, idempotency_key="once", fingerprint="another")
    assert await redis.dbsize() == before


async def test_a_batch_that_does_not_fit_leaves_nothing(
    settings: Settings, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    store = JobStore(redis, settings.model_copy(update={"queue_max_jobs": 5}))
    with pytest.raises(QueueFullError):
        await store.submit_batch([request_] * 6, idempotency_key="once", fingerprint="one")
    assert await redis.dbsize() == 0
    batch = await store.submit_batch([request_] * 5, idempotency_key="once", fingerprint="one")
    again = await store.submit_batch([request_] * 5, idempotency_key="once", fingerprint="one")
    assert again == batch
    assert await queued_ids(redis) == list(batch.jobs)
