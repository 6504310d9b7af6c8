"""What a client is owed is written with the state that owes it, once, and goes with its job."""

import asyncio
import time

import pytest
from arq.connections import ArqRedis

from jobs import keys
from jobs.errors import TransitionError, WebhookRefusedError
from jobs.lease import Lease
from jobs.model import AdmittedRequest, Failure
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.webhooks.deliveries import Deliveries
from jobs.webhooks.model import Outcome, Webhook, WebhookEvent
from jobs.webhooks.sending import Answer

MODEL, WORKER = "shapes-sd", "here:1:abc"
REFUSED = Answer(status_code=500, error="the answer was 500")


async def claimed(store: JobStore, job_id: str) -> Lease:
    answer = await store.claim(job_id, MODEL, WORKER)
    assert answer is not None
    return answer[1]


async def owed(redis: ArqRedis) -> list[str]:
    return [member.decode() for member in await redis.zrange(keys.WEBHOOKS, 0, -1)]


@pytest.mark.parametrize("end", ["succeeded", "failed", "canceled"])
async def test_each_end_of_a_job_is_owed_under_an_id_of_its_own(
    store: JobStore, redis: ArqRedis, wanted: AdmittedRequest, deliveries: Deliveries, end: str
) -> None:
    job = await store.submit(wanted)
    lease = await claimed(store, job.id)
    assert await owed(redis) == []
    if end == "succeeded":
        await store.succeed(lease, [])
    elif end == "failed":
        await store.fail(lease, Failure(type="internal-error", detail="it broke"))
    else:
        await store.cancel(job.id)
    (delivery,) = await deliveries.of_job(job.id)
    done = await store.get(job.id)
    assert await owed(redis) == [delivery.id] == [f"msg_{job.id}_{end}"]
    assert (delivery.event, delivery.outcome) == (f"job.{end}", Outcome.PENDING)
    assert delivery.created_at == done.finished_at
    ttl = await redis.pttl(keys.deliveries(job.id))
    assert ttl == pytest.approx(await redis.pttl(keys.job(job.id)), abs=100)


async def test_a_move_that_was_made_twice_is_owed_once(
    store: JobStore, redis: ArqRedis, wanted: AdmittedRequest
) -> None:
    job = await store.submit(wanted)
    lease = await claimed(store, job.id)
    await store.succeed(lease, [])
    await redis.delete(keys.WEBHOOKS)
    await store.succeed(lease, [])
    with pytest.raises(TransitionError):
        await store.cancel(job.id)
    assert await owed(redis) == [], "it was delivered before the worker asked again"


async def test_a_job_without_a_webhook_owes_nothing(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    await store.succeed(await claimed(store, job.id), [])
    assert await owed(redis) == []
    assert not await redis.exists(keys.deliveries(job.id))


async def test_only_the_events_that_were_asked_for_are_owed(
    store: JobStore, redis: ArqRedis, wanted: AdmittedRequest, deliveries: Deliveries
) -> None:
    assert wanted.webhook is not None
    webhook = Webhook(url=wanted.webhook.url, events=(WebhookEvent.RUNNING, WebhookEvent.FAILED))
    job = await store.submit(wanted.model_copy(update={"webhook": webhook}))
    first = await claimed(store, job.id)
    assert await owed(redis) == [f"msg_{job.id}_running"]
    (taken,) = await deliveries.take(1, 60)
    await deliveries.settle(taken, Answer(status_code=204), Outcome.DELIVERED)
    await store.release(first)
    again = await claimed(store, job.id)
    assert await owed(redis) == [], "a second start is not the first"
    (delivery,) = await deliveries.of_job(job.id)
    assert delivery.outcome is Outcome.DELIVERED
    await store.succeed(again, [])
    assert await owed(redis) == []


async def test_a_job_that_loses_all_its_workers_is_told_of_as_failed(
    store: JobStore, redis: ArqRedis, wanted: AdmittedRequest, hooked: Settings
) -> None:
    job = await store.submit(wanted)
    for _ in range(hooked.max_attempts + 1):
        await store.claim(job.id, MODEL, WORKER)
        await redis.zadd(keys.queue(MODEL), {job.id: time.time() * 1000 - 1}, xx=True)
    assert await owed(redis) == [f"msg_{job.id}_failed"]


async def test_a_delivery_is_taken_by_one_and_comes_back_if_he_dies(
    store: JobStore, redis: ArqRedis, wanted: AdmittedRequest, deliveries: Deliveries
) -> None:
    jobs = [await store.submit(wanted) for _ in range(20)]
    await asyncio.gather(*(store.cancel(job.id) for job in jobs))
    taken = await asyncio.gather(*(deliveries.take(3, 60) for _ in range(10)))
    ids = [one.id for some in taken for one in some]
    assert sorted(ids) == sorted(f"msg_{job.id}_canceled" for job in jobs)
    assert max(len(some) for some in taken) == 3
    assert await deliveries.take(20, 60) == []
    await redis.zadd(keys.WEBHOOKS, {ids[7]: time.time() * 1000 - 1})
    assert [one.id for one in await deliveries.take(20, 60)] == [ids[7]]


async def test_a_sender_that_was_too_slow_does_not_move_the_next_one_s_retry(
    store: JobStore, redis: ArqRedis, wanted: AdmittedRequest, deliveries: Deliveries
) -> None:
    job = await store.submit(wanted)
    await store.cancel(job.id)
    (slow,) = await deliveries.take(1, 0)
    await asyncio.sleep(0.005)
    (quick,) = await deliveries.take(1, 60)
    await deliveries.settle(slow, REFUSED, Outcome.PENDING, 3_600)
    assert await redis.zscore(keys.WEBHOOKS, slow.id) == quick.lease_end
    await deliveries.settle(quick, Answer(status_code=200), Outcome.DELIVERED)
    await deliveries.settle(slow, REFUSED, Outcome.ABANDONED)
    (delivery,) = await deliveries.of_job(job.id)
    assert delivery.outcome is Outcome.DELIVERED, "what is delivered is delivered"
    assert [attempt.status_code for attempt in delivery.attempts] == [500, 200, 500]
    assert await owed(redis) == []


async def test_a_deleted_job_owes_nothing(
    store: JobStore, redis: ArqRedis, wanted: AdmittedRequest, deliveries: Deliveries
) -> None:
    job = await store.submit(wanted)
    await store.cancel(job.id)
    (taken,) = await deliveries.take(1, 60)
    await store.delete(job.id)
    await deliveries.settle(taken, REFUSED, Outcome.PENDING, 60)
    assert not await redis.exists(keys.deliveries(job.id))
    assert await owed(redis) == []


async def test_a_webhook_that_would_never_be_called_is_refused_before_redis_hears_of_it(
    redis: ArqRedis, hooked: Settings, settings: Settings, wanted: AdmittedRequest
) -> None:
    assert wanted.webhook is not None
    for chosen, field in (
        (settings, "webhook"),
        (hooked.model_copy(update={"webhook_allow": ()}), "webhook.url"),
    ):
        with pytest.raises(WebhookRefusedError) as refusal:
            await JobStore(redis, chosen).submit(wanted)
        assert refusal.value.field == field
        with pytest.raises(WebhookRefusedError) as refusal:
            await JobStore(redis, chosen).submit_batch([wanted])
        assert refusal.value.field == f"jobs.0.{field}"
    assert await redis.dbsize() == 0
