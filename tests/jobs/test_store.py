"""Job records on a real Redis: atomic, fenced, and never in two places at once."""

import asyncio
import json
import time

import pytest
from arq.connections import ArqRedis
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs import keys
from jobs.connection import connect
from jobs.errors import (
    JobError,
    JobNotFoundError,
    LeaseLostError,
    StoreUnavailableError,
    TransitionError,
)
from jobs.lease import Lease
from jobs.model import TRANSITIONS, AdmittedRequest, Failure, Image, JobStatus
from jobs.settings import Settings
from jobs.store import JobStore, new_job_id

MODEL = "shapes-sd"
WORKER = "here:1:abc"
IMAGE = Image(
    index=0,
    seed=7,
    width=64,
    height=64,
    content_type="image/png",
    size_bytes=3,
    sha256="0" * 64,
)
FAILURE = Failure(type="internal-error", detail="it broke")


async def claimed(store: JobStore, job_id: str) -> Lease:
    answer = await store.claim(job_id, MODEL, WORKER)
    assert answer is not None
    return answer[1]


async def lapse(redis: ArqRedis, job_id: str) -> None:
    """What the end of a lease leaves, without the wait for it."""
    await redis.zadd(keys.queue(MODEL), {job_id: time.time() * 1000 - 1}, xx=True)
    await redis.delete(keys.in_progress(job_id))


async def queued_ids(redis: ArqRedis) -> list[str]:
    return [member.decode() for member in await redis.zrange(keys.queue(MODEL), 0, -1)]


async def test_a_submitted_job_is_recorded_and_in_line(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    assert job.status is JobStatus.QUEUED
    assert job == await store.get(job.id)
    assert await queued_ids(redis) == [job.id]
    assert await redis.ttl(keys.definition(job.id)) == -1, "arq's definition must not expire"


async def test_what_waits_in_redis_is_json_and_never_pickle(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    definition = await redis.get(keys.definition(job.id))
    assert definition is not None
    assert json.loads(definition)["a"] == [job.id]


async def test_positions_count_only_the_jobs_that_wait_ahead(
    store: JobStore, request_: AdmittedRequest
) -> None:
    first, second, third = [await store.submit(request_) for _ in range(3)]
    await store.claim(first.id, MODEL, WORKER)
    places = [(await store.get(job.id)).queue for job in (first, second, third)]
    assert places[0] is None
    assert [place.position for place in places[1:] if place] == [0, 1]


async def test_a_running_job_s_score_is_its_lease_s_end(
    store: JobStore, redis: ArqRedis, settings: Settings, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    waiting_score = await redis.zscore(keys.queue(MODEL), job.id)
    lease = await claimed(store, job.id)
    running_score = await redis.zscore(keys.queue(MODEL), job.id)
    assert waiting_score is not None
    assert waiting_score < time.time() * 1000
    assert running_score == pytest.approx((time.time() + settings.lease_s) * 1000, abs=500)
    assert await redis.get(keys.in_progress(job.id)) == lease.token.encode()


async def test_progress_is_reported_and_seen(store: JobStore, request_: AdmittedRequest) -> None:
    job = await store.submit(request_.model_copy(update={"images": 2}))
    await store.report(await claimed(store, job.id), 13)
    seen = await store.get(job.id)
    assert (seen.progress.step, seen.progress.steps) == (13, 40)


async def test_a_job_that_succeeds_keeps_its_images_and_leaves_the_queue(
    store: JobStore, redis: ArqRedis, settings: Settings, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    await store.succeed(await claimed(store, job.id), [IMAGE])
    done = await store.get(job.id)
    assert done.status is JobStatus.SUCCEEDED
    assert done.images == (IMAGE,)
    assert done.finished_at is not None
    assert done.started_at is not None
    assert done.created_at <= done.started_at <= done.finished_at
    left = {key.decode() for key in await redis.keys(f"*{job.id}*")}
    assert left == {keys.job(job.id), keys.events(job.id)}
    assert 0 < await redis.ttl(keys.events(job.id)) <= settings.events_retention_s
    assert await redis.scard(keys.unfinished(MODEL)) == 0
    assert await redis.get(keys.load(MODEL)) == b"0"
    assert await redis.ttl(keys.job(job.id)) == pytest.approx(settings.retention_s, abs=5)


async def test_a_finished_job_takes_at_most_2_kb(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    await store.succeed(await claimed(store, job.id), [IMAGE])
    used = await redis.memory_usage(keys.job(job.id), samples=0)
    assert used is not None
    assert used <= 2_048


async def test_a_failed_job_says_why(store: JobStore, request_: AdmittedRequest) -> None:
    job = await store.submit(request_)
    await store.fail(await claimed(store, job.id), FAILURE)
    assert (await store.get(job.id)).error == FAILURE


async def test_a_second_holder_fences_the_first(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    slow = await claimed(store, job.id)
    await lapse(redis, job.id)
    quick = await claimed(store, job.id)
    for write in (
        store.report(slow, 1),
        store.succeed(slow, [IMAGE]),
        store.fail(slow, FAILURE),
        store.release(slow),
    ):
        with pytest.raises(LeaseLostError):
            await write
    await store.succeed(quick, [IMAGE])
    done = await store.get(job.id)
    assert done.status is JobStatus.SUCCEEDED
    assert [attempt.worker for attempt in done.attempts] == [WORKER, WORKER]


async def test_a_job_whose_holder_lives_is_not_given_to_a_second(
    store: JobStore, request_: AdmittedRequest
) -> None:
    """arq can hand a job out twice, when one worker reads the queue just before another claims."""
    job = await store.submit(request_)
    lease = await claimed(store, job.id)
    assert await store.claim(job.id, MODEL, WORKER) is None
    await store.succeed(lease, [IMAGE])


async def test_a_holder_that_asks_again_hears_the_same_answer(
    store: JobStore, request_: AdmittedRequest
) -> None:
    """The answer to its first time may have been lost with the connection."""
    job = await store.submit(request_)
    lease = await claimed(store, job.id)
    for _ in range(2):
        await store.succeed(lease, [IMAGE])
    with pytest.raises(TransitionError):
        await store.fail(lease, FAILURE)


async def test_a_silent_holder_that_is_heard_of_before_another_claims_goes_on(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    lease = await claimed(store, job.id)
    await lapse(redis, job.id)
    assert await store.sweep(MODEL) == 1
    await store.report(lease, 3)
    assert await store.claim(job.id, MODEL, WORKER) is None
    await store.succeed(lease, [IMAGE])


async def test_a_lapsed_job_goes_to_its_old_place_before_those_that_came_later(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    first, second = await store.submit(request_), await store.submit(request_)
    await store.claim(first.id, MODEL, WORKER)
    await lapse(redis, first.id)
    assert await queued_ids(redis) == [second.id, first.id]
    assert await store.sweep(MODEL) == 1
    assert await queued_ids(redis) == [first.id, second.id]


async def test_a_job_that_lost_every_worker_fails_with_the_history_of_its_attempts(
    store: JobStore, redis: ArqRedis, settings: Settings, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    for number in range(settings.max_attempts):
        assert await store.claim(job.id, MODEL, f"host:{number}") is not None
        await lapse(redis, job.id)
    assert await store.claim(job.id, MODEL, "host:last") is None
    failed = await store.get(job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert failed.error.type == "too-many-attempts"
    assert [attempt.worker for attempt in failed.attempts] == ["host:0", "host:1", "host:2"]


async def test_a_record_that_cannot_be_read_fails_and_is_not_tried_for_ever(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    await redis.hset(keys.job(job.id), "request", "{")  # type: ignore[misc]
    assert await store.claim(job.id, MODEL, WORKER) is None
    assert await redis.hget(keys.job(job.id), "status") == b"failed"  # type: ignore[misc]
    assert await queued_ids(redis) == []


async def test_a_released_job_gets_its_old_place_and_the_attempt_does_not_count(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    first, second = await store.submit(request_), await store.submit(request_)
    await store.release(await claimed(store, first.id))
    again = await store.get(first.id)
    assert (again.status, again.attempts) == (JobStatus.QUEUED, ())
    assert await queued_ids(redis) == [first.id, second.id]
    assert not await redis.exists(keys.in_progress(first.id))


async def test_cancelling_a_waiting_job_takes_it_out_of_line(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    assert (await store.cancel(job.id)).status is JobStatus.CANCELED
    assert await queued_ids(redis) == []
    assert await store.claim(job.id, MODEL, WORKER) is None


async def test_cancelling_a_running_job_tells_its_holder_at_the_next_report(
    store: JobStore, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    lease = await claimed(store, job.id)
    await store.cancel(job.id)
    with pytest.raises(LeaseLostError):
        await store.report(lease, 3)


async def test_a_finished_job_cannot_be_cancelled(
    store: JobStore, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    await store.succeed(await claimed(store, job.id), [IMAGE])
    with pytest.raises(TransitionError, match="succeeded and cannot become canceled"):
        await store.cancel(job.id)


async def test_an_unknown_job_is_not_found(store: JobStore) -> None:
    with pytest.raises(JobNotFoundError):
        await store.get(new_job_id())


async def test_the_sweep_puts_back_what_arq_s_unfenced_finish_removed(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    await store.claim(job.id, MODEL, WORKER)
    # What arq does at the end of a holder that was paused past its lease.
    await redis.zrem(keys.queue(MODEL), job.id)
    await redis.delete(keys.definition(job.id), keys.in_progress(job.id))
    assert await store.sweep(MODEL) == 1
    assert await queued_ids(redis) == [job.id]
    assert await redis.get(keys.definition(job.id)) is not None
    assert await store.sweep(MODEL) == 0, "what is in line is left alone"


async def test_the_sweep_finds_what_the_queue_lost_among_many(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.store.SWEEP_SIZE", 10)
    # A set this large is scanned in several turns.
    jobs = [await store.submit(request_) for _ in range(600)]
    await redis.zrem(keys.queue(MODEL), jobs[300].id)
    found = [await store.sweep(MODEL) for _ in range(100)]
    assert sum(found) == 1
    assert len(await queued_ids(redis)) == 600


async def test_the_sweep_leaves_finished_jobs_alone(
    store: JobStore, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    await store.succeed(await claimed(store, job.id), [IMAGE])
    await redis.sadd(keys.unfinished(MODEL), job.id)
    assert await store.sweep(MODEL) == 0
    assert await queued_ids(redis) == []


async def test_a_redis_that_does_not_answer_is_one_known_error(request_: AdmittedRequest) -> None:
    nowhere = Settings(redis_url="redis://127.0.0.1:1/0")  # type: ignore[arg-type]
    redis = connect(nowhere)
    with pytest.raises(StoreUnavailableError):
        await JobStore(redis, nowhere).submit(request_)
    await redis.aclose()


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = []
    for _ in range(3):
        made.append(new_job_id())
        before = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 == before:
            pass
    assert made == sorted(made)
    assert len(set(made)) == 3


ACTIONS = st.sampled_from(("claim", "report", "succeed", "fail", "release", "cancel"))


@given(actions=st.lists(ACTIONS, max_size=8))
@hypothesis_settings(max_examples=60, deadline=None)
def test_only_the_transitions_of_the_table_ever_happen(
    settings: Settings, request_: AdmittedRequest, actions: list[str]
) -> None:
    asyncio.run(_walk(actions, settings, request_))


async def _walk(actions: list[str], settings: Settings, request: AdmittedRequest) -> None:
    redis = connect(settings)
    store = JobStore(redis, settings)
    job = await store.submit(request)
    lease = Lease(job_id=job.id, model=MODEL)
    status = JobStatus.QUEUED
    for action in actions:
        try:
            match action:
                case "claim":
                    answer = await store.claim(job.id, MODEL, WORKER)
                    lease = answer[1] if answer else lease
                case "report":
                    await store.report(lease, 1)
                case "succeed":
                    await store.succeed(lease, [IMAGE])
                case "fail":
                    await store.fail(lease, FAILURE)
                case "release":
                    await store.release(lease)
                case "cancel":
                    await store.cancel(job.id)
        except JobError:
            assert (await store.get(job.id)).status is status, "a refused move changes nothing"
        seen = (await store.get(job.id)).status
        assert seen is status or seen in TRANSITIONS[status]
        in_line = await redis.zscore(keys.queue(MODEL), job.id) is not None
        assert in_line is not seen.finished, "a job is in the queue until it has finished"
        status = seen
    await redis.aclose()
