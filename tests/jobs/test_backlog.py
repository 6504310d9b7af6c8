"""How much work waits: exact in jobs, and in seconds as good as the measured pace."""

import re
from importlib.resources import files

import pytest
from arq.connections import ArqRedis

from jobs import keys, queue
from jobs.access.model import Caller
from jobs.backlog import Backlog, measure
from jobs.model import AdmittedRequest, Lane
from jobs.pace import UNKNOWN_WAIT_S, Pace
from jobs.record import made_at_ms
from jobs.standing import Standing
from jobs.store import JobStore

MODEL = "shapes-sd"


async def backlog_of(store: JobStore) -> Backlog:
    (backlog,) = await store.backlogs.of([MODEL])
    return backlog


async def test_jobs_are_counted_where_they_stand(
    store: JobStore, request_: AdmittedRequest
) -> None:
    in_no_hurry = request_.model_copy(update={"lane": Lane.BATCH})
    jobs = [await store.submit(request) for request in (request_, request_, in_no_hurry)]
    await store.claim(jobs[0].id, MODEL, "here:1:abc")
    backlog = await backlog_of(store)
    assert (backlog.jobs, backlog.running, backlog.workers) == (3, 1, 0)
    assert {lane: waiting.jobs for lane, waiting in backlog.lanes.items()} == {
        Lane.INTERACTIVE: 1,
        Lane.BATCH: 1,
    }


async def test_the_oldest_is_looked_for_beyond_the_first_in_line(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    """A tenant's second job waits behind another tenant's first one, however long it has waited."""
    first, second = [await store.submit(request_) for _ in range(2)]
    other = await store.submit(request_, caller=Caller(tenant="other"))
    await store.cancel(first.id)
    place = await redis.zscore(keys.queue(MODEL), second.id)
    # The same job, had it been submitted an hour before.
    hour_ago = f"{made_at_ms(second.id) - 3_600_000:012x}{second.id[12:]}"
    await redis.zrem(keys.queue(MODEL), second.id)
    await redis.zadd(keys.queue(MODEL), {hour_ago: place})
    assert await redis.zrank(keys.queue(MODEL), other.id) == 0
    lanes = (await backlog_of(store)).lanes
    assert lanes[Lane.INTERACTIVE].oldest_age_s == pytest.approx(3_600, abs=60)
    assert lanes[Lane.BATCH].oldest_age_s == 0


async def test_a_model_that_was_never_measured_counts_its_jobs(
    store: JobStore, request_: AdmittedRequest
) -> None:
    """Whatever scales from zero has nobody yet who could be measured."""
    await store.submit(request_)
    backlog = await backlog_of(store)
    assert backlog.work_s == backlog.lanes[Lane.INTERACTIVE].work_s == UNKNOWN_WAIT_S


async def test_the_pace_tells_workers_apart(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    """Two workers, side by side, do twice the work in the same time; one alone needs as long."""
    jobs = [await store.submit(request_) for _ in range(2)]
    leases = []
    for number, job in enumerate(jobs):
        claimed = await store.claim(job.id, MODEL, f"here:{number}:abc")
        assert claimed
        leases.append(claimed[1])
    ten_seconds_ago = (await redis.time())[0] * 1000 - 10_000
    for job in jobs:
        await redis.hset(keys.job(job.id), "started_ms", str(ten_seconds_ago))  # type: ignore[misc]
    for lease in leases:
        await store.succeed(lease, [])
    stored = await redis.hgetall(keys.pace(MODEL))  # type: ignore[misc]
    pace = Pace.from_hash(stored)
    assert pace.seconds_for(2 * request_.work) == pytest.approx(10, abs=2)
    assert pace.worker_seconds_for(2 * request_.work) == pytest.approx(20, abs=3)


def test_work_is_told_in_one_workers_seconds() -> None:
    pace = Pace(work=1_000, busy_ms=1_000, worker_ms=4_000, jobs=10)
    standing = Standing(workers=4, running=1, unfinished=5, load=500, pace=pace)
    backlog = measure(MODEL, standing, waiting={Lane.INTERACTIVE: (4, 7.0)})
    assert backlog.work_s == 2.0
    assert backlog.lanes[Lane.INTERACTIVE].work_s == pytest.approx(1.6)


async def test_a_long_queue_costs_no_more_to_look_at(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    async def cost() -> int:
        before = (await redis.info("stats"))["total_commands_processed"]
        await backlog_of(store)
        return int((await redis.info("stats"))["total_commands_processed"] - before)

    await store.submit(request_)
    # The first look also opens connections.
    await backlog_of(store)
    few = await cost()
    await store.submit_batch([request_] * 300)
    assert await cost() == few <= 12


def test_lanes_are_as_wide_here_as_in_the_scripts() -> None:
    script = (files("jobs") / "lua" / "fair.lua").read_text()
    power = re.search(r"LANE_WIDTH = 2 \^ (\d+)", script)
    assert power
    assert 2 ** int(power[1]) == queue.LANE_WIDTH
