"""Deliveries over real sockets: at least once, tried again for long, never for ever."""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from arq.connections import ArqRedis
from hypothesis import given
from hypothesis import strategies as st
from receiver import SECRET, Receiver, receiving

from jobs import keys, logs
from jobs.model import AdmittedRequest, Job
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.webhooks.deliverer import JITTER, verdict
from jobs.webhooks.deliveries import Deliveries
from jobs.webhooks.model import Outcome, Webhook
from jobs.webhooks.sending import Answer

MODEL, WORKER = "shapes-sd", "here:1:abc"
Settled = Callable[[], Awaitable[None]]


async def canceled(store: JobStore, request: AdmittedRequest) -> Job:
    job = await store.submit(request)
    return await store.cancel(job.id)


async def test_a_receiver_verifies_the_event_with_its_own_library(
    store: JobStore, wanted: AdmittedRequest, receiver: Receiver, delivering: Any, settled: Settled
) -> None:
    def present(job: Job) -> Job:
        return job.model_copy(update={"attempts": ()})

    async with delivering(present):
        job = await store.submit(wanted)
        claimed = await store.claim(job.id, MODEL, WORKER)
        assert claimed is not None
        await store.succeed(claimed[1], [])
        await settled()
    (received,) = receiver.received
    event = received.verified()
    done = await store.get(job.id)
    assert received.headers["webhook-id"] == f"msg_{job.id}_succeeded"
    assert event["type"] == "job.succeeded"
    assert event["data"] == present(done).model_dump(mode="json")
    assert event["timestamp"] == done.model_dump(mode="json")["finished_at"]


async def test_what_is_owed_is_delivered_within_a_moment(
    store: JobStore, wanted: AdmittedRequest, receiver: Receiver, delivering: Any, settled: Settled
) -> None:
    async with delivering():
        await canceled(store, wanted)
        await settled()
        begun = time.monotonic()
        await canceled(store, wanted)
        await settled()
        assert time.monotonic() - begun < 0.9, "the bell wakes the deliverer before its next look"


async def test_a_failure_is_tried_again_under_the_same_id_and_all_of_it_is_on_record(
    store: JobStore,
    wanted: AdmittedRequest,
    receiver: Receiver,
    delivering: Any,
    settled: Settled,
    deliveries: Deliveries,
) -> None:
    receiver.answers = [500, 302]
    async with delivering():
        job = await canceled(store, wanted)
        await settled()
    assert {received.headers["webhook-id"] for received in receiver.received} == {
        f"msg_{job.id}_canceled"
    }
    for received in receiver.received:
        assert received.verified()["type"] == "job.canceled"
    (delivery,) = await deliveries.of_job(job.id)
    assert delivery.outcome is Outcome.DELIVERED
    assert delivery.next_at is None
    assert [(attempt.status_code, attempt.error) for attempt in delivery.attempts] == [
        (500, "the answer was 500"),
        (302, "the answer was 302"),
        (204, None),
    ]
    ends = [attempt.ended_at for attempt in delivery.attempts]
    assert ends == sorted(ends)


@pytest.mark.parametrize(("answers", "attempts"), [([500] * 9, 3), ([410], 1), ([503, 410], 2)])
async def test_after_the_last_retry_or_a_410_nothing_more_is_sent(
    store: JobStore,
    wanted: AdmittedRequest,
    receiver: Receiver,
    delivering: Any,
    settled: Settled,
    deliveries: Deliveries,
    answers: list[int],
    attempts: int,
) -> None:
    receiver.answers = answers
    async with delivering():
        job = await canceled(store, wanted)
        await settled()
    (delivery,) = await deliveries.of_job(job.id)
    assert delivery.outcome is Outcome.ABANDONED
    assert len(delivery.attempts) == len(receiver.received) == attempts


async def test_the_next_attempt_waits_for_its_time(
    store: JobStore,
    redis: ArqRedis,
    wanted: AdmittedRequest,
    receiver: Receiver,
    delivering: Any,
    deliveries: Deliveries,
    until: Any,
) -> None:
    receiver.answers = [500]
    job = await canceled(store, wanted)

    async def has_failed() -> bool:
        (delivery,) = await deliveries.of_job(job.id)
        return len(delivery.attempts) == 1

    async with delivering(webhook_retries_s=(300.0,)):
        await until(has_failed)
    (delivery,) = await deliveries.of_job(job.id)
    assert delivery.next_at is not None
    delay_s = delivery.next_at.timestamp() - delivery.attempts[0].ended_at.timestamp()
    assert 300 <= delay_s <= 300 * (1 + JITTER)
    due = await redis.zscore(keys.WEBHOOKS, delivery.id)
    assert due == pytest.approx(delivery.next_at.timestamp() * 1000, abs=1)


async def test_several_deliverers_share_the_work_and_send_nothing_twice(
    store: JobStore, wanted: AdmittedRequest, receiver: Receiver, delivering: Any, settled: Settled
) -> None:
    jobs = [await canceled(store, wanted) for _ in range(40)]
    async with delivering(webhook_concurrency=4), delivering(), delivering():
        await settled()
    ids = sorted(received.headers["webhook-id"] for received in receiver.received)
    assert ids == sorted(f"msg_{job.id}_canceled" for job in jobs)


async def test_one_slow_receiver_does_not_hold_up_another(
    store: JobStore, wanted: AdmittedRequest, receiver: Receiver, delivering: Any, until: Any
) -> None:
    receiver.may_answer.clear()
    with receiving() as other:
        elsewhere = wanted.model_copy(update={"webhook": Webhook(url=other.url)})
        async with delivering():
            for _ in range(10):
                await canceled(store, wanted)
            await canceled(store, elsewhere)

            async def has_arrived() -> bool:
                return bool(other.received)

            await until(has_arrived)
            assert len(receiver.received) <= 10
            receiver.may_answer.set()
        assert len(other.received) == 1


async def test_a_sender_that_dies_before_it_has_noted_the_answer_is_followed_by_another(
    store: JobStore,
    redis: ArqRedis,
    wanted: AdmittedRequest,
    receiver: Receiver,
    delivering: Any,
    settled: Settled,
    monkeypatch: pytest.MonkeyPatch,
    until: Any,
) -> None:
    async def die(*_: object) -> None:
        raise asyncio.CancelledError

    job = await canceled(store, wanted)
    with monkeypatch.context() as patch:
        patch.setattr(Deliveries, "settle", die)
        async with delivering():

            async def has_posted() -> bool:
                return bool(receiver.received)

            await until(has_posted)
    await redis.zadd(keys.WEBHOOKS, {f"msg_{job.id}_canceled": 0}, xx=True)
    async with delivering():
        await settled()
    assert [received.headers["webhook-id"] for received in receiver.received] == [
        f"msg_{job.id}_canceled"
    ] * 2


async def test_what_is_owed_to_a_deleted_job_is_forgotten(
    store: JobStore, wanted: AdmittedRequest, receiver: Receiver, delivering: Any, settled: Settled
) -> None:
    job = await canceled(store, wanted)
    await store.delete(job.id)
    async with delivering():
        await settled()
    assert not receiver.received


async def test_a_job_that_cannot_be_told_of_is_no_endless_loop(
    store: JobStore,
    redis: ArqRedis,
    wanted: AdmittedRequest,
    delivering: Any,
    settled: Settled,
    deliveries: Deliveries,
) -> None:
    job = await canceled(store, wanted)
    await redis.hset(keys.job(job.id), "request", "{poisoned")  # type: ignore[misc]
    async with delivering():
        await settled()
    (delivery,) = await deliveries.of_job(job.id)
    assert delivery.outcome is Outcome.ABANDONED
    assert {attempt.error for attempt in delivery.attempts} == {"the service could not make it"}


async def test_what_somebody_else_wrote_into_redis_stops_nothing(
    store: JobStore,
    redis: ArqRedis,
    wanted: AdmittedRequest,
    receiver: Receiver,
    delivering: Any,
    settled: Settled,
) -> None:
    poisoned, sound = await canceled(store, wanted), await canceled(store, wanted)
    await redis.hset(keys.deliveries(poisoned.id), "job.canceled", "{")  # type: ignore[misc]
    await redis.zadd(keys.WEBHOOKS, {"nonsense": 0, "msg_x_y": 0, "": 0})
    async with delivering():
        await settled()
    (received,) = receiver.received
    assert received.headers["webhook-id"] == f"msg_{sound.id}_canceled"


async def test_no_log_holds_secret_signature_address_or_prompt(
    hooked: Settings,
    store: JobStore,
    wanted: AdmittedRequest,
    receiver: Receiver,
    delivering: Any,
    settled: Settled,
    caplog: pytest.LogCaptureFixture,
) -> None:
    logs.configure("DEBUG")
    logging.getLogger().addHandler(caplog.handler)
    receiver.answers = [500]
    receiver.headers = {"set-cookie": "session=of-the-receiver"}
    async with delivering():
        await canceled(store, wanted)
        await settled()
    logs.configure("INFO")
    assert "delivered" in caplog.text
    for received in receiver.received:
        assert received.headers["webhook-signature"] not in caplog.text
        assert received.headers["webhook-signature"].split(",")[1] not in caplog.text
    for hidden in (SECRET, SECRET.removeprefix("whsec_"), "of-the-receiver", wanted.prompt):
        assert hidden not in caplog.text


delays = st.lists(st.floats(0, 604_800), max_size=10)


@given(delays, st.integers(0, 20), st.integers(100, 599), st.integers(0, 10**7), st.floats(0, 1))
def test_every_delivery_ends_and_no_retry_comes_early_or_later_than_the_longest(
    retries_s: Sequence[float], earlier: int, status: int, retry_after_s: int, jitter: float
) -> None:
    answer = Answer(status_code=status, retry_after_s=retry_after_s)
    outcome, delay_s = verdict(answer, earlier, retries_s, jitter)
    if 200 <= status < 300:
        assert outcome is Outcome.DELIVERED
    elif status == 410 or earlier >= len(retries_s):
        assert outcome is Outcome.ABANDONED
    else:
        assert outcome is Outcome.PENDING
        assert retries_s[earlier] <= delay_s <= max(retries_s) * (1 + JITTER)
        assert delay_s >= min(retry_after_s, max(retries_s))


def test_by_default_a_receiver_may_be_away_for_three_days() -> None:
    retries_s = Settings().webhook_retries_s
    totals = list(itertools.accumulate(retries_s))
    assert totals[0] <= 5
    assert 72 * 3600 <= totals[-1] < Settings().retention_s
