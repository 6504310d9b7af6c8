"""Neighbouring versions share one Redis: each reads what the other writes, or leaves it alone.

`frozen/` holds what each layout's first version wrote; it is never changed. A layout that is new
gets a file of its own beside it.
"""

import json

import pytest
from arq.connections import ArqRedis
from frozen import FOLDER, Frozen, thaw
from played_worker import MODEL, WORKER

from jobs import events, keys, listing
from jobs.access.model import DEFAULT_TENANT
from jobs.errors import NewerRecordError
from jobs.events import EventKind
from jobs.exchange import Exchange
from jobs.listing import Filter
from jobs.model import AdmittedRequest, JobStatus, Lane
from jobs.pace import Pace
from jobs.record import RECORD_VERSION
from jobs.store import JobStore
from jobs.webhooks.deliveries import Deliveries

LAYOUTS = [int(path.stem.rpartition("_")[2]) for path in FOLDER.glob("layout_*.json")]


@pytest.fixture(params=LAYOUTS)
async def frozen(redis: ArqRedis, request: pytest.FixtureRequest) -> Frozen:
    return await thaw(redis, request.param)


def test_the_present_layout_is_frozen_too() -> None:
    assert RECORD_VERSION in LAYOUTS


async def test_old_records_are_read(frozen: Frozen, store: JobStore) -> None:
    found = {state: await store.get(job_id) for state, job_id in frozen.jobs.items()}
    assert {state: job.status for state, job in found.items()} == {
        state: JobStatus(state) for state in frozen.jobs
    }
    done, failed = found["succeeded"], found["failed"]
    assert [image.seed for image in done.images] == [7]
    assert done.request.labels == {"project": "zoo"}
    assert done.attempts[0].worker == "old-host:7:c0ffee"
    assert failed.error
    assert failed.error.type == "out-of-memory"
    assert found["running"].progress.step == 3


async def test_old_batches_lists_events_and_deliveries_are_read(
    frozen: Frozen, store: JobStore, redis: ArqRedis
) -> None:
    batch = await store.get_batch(frozen.batch)
    assert batch.counts[JobStatus.QUEUED] == len(batch.jobs) == 2
    page = await listing.page(redis, DEFAULT_TENANT, Filter(), after=None, limit=50)
    assert {job.id for job in page.jobs} == {*frozen.jobs.values(), *batch.jobs}
    kinds = [event.kind for event in await events.read(redis, frozen.jobs["succeeded"])]
    assert kinds == [EventKind.RUNNING, EventKind.PROGRESS, EventKind.IMAGE, EventKind.END]
    deliveries = await Deliveries(Exchange(redis)).of_job(frozen.jobs["succeeded"])
    assert [delivery.event for delivery in deliveries] == ["job.succeeded"]


async def test_old_jobs_can_be_counted_claimed_and_ended(
    frozen: Frozen, store: JobStore, redis: ArqRedis
) -> None:
    (backlog,) = await store.backlogs.of([MODEL])
    assert backlog.lanes[Lane.BATCH].jobs == 1
    assert backlog.work_s > 0
    for state in ("queued", "running"):
        claimed = await store.claim(frozen.jobs[state], MODEL, WORKER)
        assert claimed
        await store.succeed(claimed[1], [])
        assert (await store.get(frozen.jobs[state])).status is JobStatus.SUCCEEDED
    pace = Pace.from_hash(await redis.hgetall(keys.pace(MODEL)))  # type: ignore[misc]
    assert pace.worker_ms > 0


async def test_what_a_newer_version_has_added_is_passed_over(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    request = json.loads(await redis.hget(keys.job(job.id), "request"))  # type: ignore[misc, arg-type]
    added = {"sharpness": "7", "request": json.dumps({**request, "sharpness": 7})}
    await redis.hset(keys.job(job.id), mapping=added)  # type: ignore[misc, arg-type]
    assert (await store.get(job.id)).request == request_
    claimed = await store.claim(job.id, MODEL, WORKER)
    assert claimed
    assert claimed[0].request == request_


async def test_events_of_a_newer_version_are_passed_over(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    for _ in range(60):
        await redis.xadd(keys.events(job.id), {"kind": "sharpened", "data": "{}"})
    await store.cancel(job.id)
    news = await events.read(redis, job.id)
    assert [event.kind for event in news] == [EventKind.END]
    assert await events.read(redis, job.id, news[-1].id) == []


async def newer(store: JobStore, redis: ArqRedis, request: AdmittedRequest) -> str:
    """A job as a version would record it that has another layout."""
    job_id = (await store.submit(request)).id
    record = keys.job(job_id)
    await redis.hset(record, "v", str(RECORD_VERSION + 1))  # type: ignore[misc]
    await redis.hset(record, "request", '{"scene": "a red circle"}')  # type: ignore[misc]
    return job_id


async def test_a_job_of_a_newer_layout_is_left_alone_and_said_so(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job_id = await newer(store, redis, request_)
    before = await redis.hgetall(keys.job(job_id))  # type: ignore[misc]
    with pytest.raises(NewerRecordError, match=f"{job_id} was recorded by a newer version"):
        await store.get(job_id)
    page = await listing.page(redis, DEFAULT_TENANT, Filter(), after=None, limit=50)
    assert not page.jobs
    with pytest.raises(NewerRecordError):
        await store.claim(job_id, MODEL, WORKER)
    assert await redis.hgetall(keys.job(job_id)) == before  # type: ignore[misc]
    assert await redis.zscore(keys.queue(MODEL), job_id) == float(before[b"place"])
    assert not await redis.exists(keys.in_progress(job_id))
