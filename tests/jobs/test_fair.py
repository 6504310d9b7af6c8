"""Who is served next: the pure functions of `lua/fair.lua`, run where they run, by Redis."""

import asyncio
import json
from importlib.resources import files
from typing import Any

import pytest
from arq.connections import ArqRedis
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs import keys
from jobs.access.model import Caller
from jobs.connection import connect
from jobs.errors import QueueFullError
from jobs.model import AdmittedRequest, Lane
from jobs.settings import Settings
from jobs.store import JobStore

MODEL, WORKER = "shapes-sd", "here:1:abc"
ANN, BOB = Caller(tenant="ann"), Caller(tenant="bob")
WORK_PER_TAG = 2**16

#: Serves a whole history of arrivals and services within one call, by the pure functions alone.
SIMULATION = (
    (files("jobs") / "lua" / "fair.lua").read_text()
    + """
local lane, served, ends, waiting, order = -2, nil, {}, {}, {}
for _, event in ipairs(cjson.decode(ARGV[1])) do
    local tenant, work = event[1], event[2]
    if tenant == 'serve' then
        local first
        for index, job in ipairs(waiting) do
            if not first or job.place < waiting[first].place then first = index end
        end
        if first then
            local job = table.remove(waiting, first)
            served = math.max(served or job.place, job.place)
            table.insert(order, {job.tenant, job.work})
        end
    else
        local place = start_place(lane, served, ends[tenant])
        ends[tenant] = place + cost_of(work)
        table.insert(waiting, {tenant = tenant, work = work, place = place})
    end
end
return cjson.encode(order)
"""
)

TENANTS = ("ann", "bob", "cy")
WORKS = st.integers(1, 40).map(lambda units: units * WORK_PER_TAG)


async def served(settings: Settings, events: list[Any]) -> list[tuple[str, int]]:
    redis = connect(settings)
    answer = await redis.eval(SIMULATION, 0, json.dumps(events))  # type: ignore[misc]
    await redis.aclose()
    return [(tenant, work) for tenant, work in json.loads(answer) or ()]


@given(
    jobs=st.lists(st.tuples(st.sampled_from(TENANTS[:2]), WORKS), max_size=60),
    services=st.integers(1, 60),
)
@hypothesis_settings(max_examples=80, deadline=None)
def test_while_two_tenants_both_wait_neither_gets_more_than_one_job_ahead(
    settings: Settings, jobs: list[tuple[str, int]], services: int
) -> None:
    """The bound of the paper's theorem 1: the difference in work is at most both largest jobs."""
    order = asyncio.run(served(settings, [*jobs, *[("serve", 0)] * services]))
    left = {name: [work for tenant, work in jobs if tenant == name] for name in TENANTS[:2]}
    got = dict.fromkeys(left, 0)
    bound = sum(max(works, default=0) for works in left.values())
    for tenant, work in order:
        if not all(left.values()):
            break
        assert left[tenant].pop(0) == work, "a tenant's own jobs stay in order"
        got[tenant] += work
        assert abs(got["ann"] - got["bob"]) <= bound


@given(
    events=st.lists(
        st.one_of(st.just(("serve", 0)), st.tuples(st.sampled_from(TENANTS), WORKS)), max_size=80
    )
)
@hypothesis_settings(max_examples=80, deadline=None)
def test_every_job_is_served_once_and_each_tenant_in_order(
    settings: Settings, events: list[tuple[str, int]]
) -> None:
    order = asyncio.run(served(settings, [*events, *[("serve", 0)] * len(events)]))
    for name in TENANTS:
        mine = [work for tenant, work in order if tenant == name]
        assert mine == [work for tenant, work in events if tenant == name]


@given(crowd=st.integers(1, 400), already=st.integers(0, 100))
@hypothesis_settings(max_examples=30, deadline=None)
def test_a_newcomer_does_not_wait_for_another_tenant_s_crowd(
    settings: Settings, crowd: int, already: int
) -> None:
    job = ("ann", 7 * WORK_PER_TAG)
    events = [*[job] * crowd, *[("serve", 0)] * min(already, crowd), ("bob", 1), ("serve", 0)]
    order = asyncio.run(served(settings, [*events, ("serve", 0)]))
    assert "bob" in [tenant for tenant, _ in order[-2:]]


@pytest.fixture
def heads(redis: ArqRedis, store: JobStore) -> Any:
    """Claim jobs from the head of the queue, as workers do; says whose they were."""

    async def take(count: int) -> list[str]:
        tenants = []
        for _ in range(count):
            (head,) = await redis.zrange(keys.queue(MODEL), 0, 0)
            assert await store.claim(head.decode(), MODEL, WORKER) is not None
            tenants.append((await redis.hget(keys.job(head.decode()), "tenant")).decode())
        return tenants

    return take


async def test_one_tenant_s_thousand_jobs_do_not_delay_another_s_one(
    store: JobStore, heads: Any, request_: AdmittedRequest
) -> None:
    for _ in range(1_000):
        await store.submit(request_, caller=ANN)
    await heads(10)
    job = await store.submit(request_, caller=BOB)
    assert job.queue is not None
    assert job.queue.position <= 1
    assert "bob" in await heads(2)


async def test_an_interactive_job_goes_before_every_batch_job(
    store: JobStore, heads: Any, request_: AdmittedRequest
) -> None:
    batch = request_.model_copy(update={"lane": Lane.BATCH})
    for _ in range(5):
        await store.submit(batch, caller=ANN)
    await heads(1)
    await store.submit(request_, caller=BOB)
    assert await heads(2) == ["bob", "ann"]


async def test_who_cancels_waiting_jobs_does_not_pay_for_them(
    store: JobStore, heads: Any, request_: AdmittedRequest
) -> None:
    dropped = [await store.submit(request_, caller=ANN) for _ in range(100)]
    for job in dropped:
        await store.cancel(job.id)
    for _ in range(3):
        await store.submit(request_, caller=BOB)
    await store.submit(request_, caller=ANN)
    assert "ann" in await heads(2)


async def test_an_idle_tenant_saves_nothing_up_and_owes_nothing(
    store: JobStore, redis: ArqRedis, heads: Any, request_: AdmittedRequest
) -> None:
    for _ in range(50):
        await store.submit(request_, caller=ANN)
    await heads(50)
    for _ in range(2):
        await store.submit(request_, caller=BOB)
        await store.submit(request_, caller=ANN)
    assert set(await heads(3)) == {"ann", "bob"}
    await heads(1)
    # Only ends that lie ahead of what is served are kept.
    assert await redis.zcard(keys.tenants(MODEL)) <= 2


async def test_a_full_queue_refuses_with_the_limit_and_when_to_come_back(
    redis: ArqRedis, settings: Settings, request_: AdmittedRequest
) -> None:
    store = JobStore(redis, settings.model_copy(update={"queue_max_jobs": 2}))
    jobs = [await store.submit(request_) for _ in range(2)]
    before = await redis.dbsize()
    with pytest.raises(
        QueueFullError, match="has 2 unfinished jobs already, and may have 2"
    ) as full:
        await store.submit(request_, idempotency_key="again", fingerprint="one")
    assert full.value.limit == 2
    assert await redis.dbsize() == before, "a refusal leaves nothing"
    await store.cancel(jobs[0].id)
    await store.submit(request_, idempotency_key="again", fingerprint="one")
    # A replay is no new work.
    await store.submit(request_, idempotency_key="again", fingerprint="one")


async def test_a_queue_is_full_by_work_too_and_gives_the_measured_wait(
    redis: ArqRedis, settings: Settings, request_: AdmittedRequest
) -> None:
    store = JobStore(redis, settings.model_copy(update={"queue_max_work": 2 * request_.work}))
    done = await store.submit(request_)
    claimed = await store.claim(done.id, MODEL, WORKER)
    assert claimed is not None
    # As though it had run for ten seconds.
    await redis.hincrby(keys.job(done.id), "started_ms", -10_000)  # type: ignore[misc]
    await store.succeed(claimed[1], [])
    for _ in range(2):
        await store.submit(request_)
    with pytest.raises(QueueFullError, match="pixel-steps") as full:
        await store.submit(request_)
    assert full.value.retry_after_s in (10, 11)


async def test_a_job_larger_than_the_limit_may_run_alone(
    redis: ArqRedis, settings: Settings, request_: AdmittedRequest
) -> None:
    store = JobStore(redis, settings.model_copy(update={"queue_max_work": 1}))
    await store.submit(request_)
    with pytest.raises(QueueFullError):
        await store.submit(request_)
