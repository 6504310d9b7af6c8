"""Pictures go when their jobs have gone, and never before."""

import time
from datetime import timedelta

import pytest
from arq.connections import ArqRedis

from jobs import keys, retention
from jobs.model import AdmittedRequest, JobStatus, OutputFormat
from jobs.retention import ORPHAN_AGE, is_outlived, sweep, sweep_in_turn
from jobs.storage import PictureStore, picture_key
from jobs.store import JobStore, new_job_id

MODEL, WORKER = "shapes-sd", "here:1:abc"
WEEK, MOMENT = timedelta(days=7), timedelta(seconds=1)


@pytest.mark.parametrize(
    ("status", "age", "goes"),
    [
        (None, WEEK - MOMENT, False),
        (None, WEEK + MOMENT, True),
        (JobStatus.FAILED, ORPHAN_AGE - MOMENT, False),
        (JobStatus.FAILED, ORPHAN_AGE + MOMENT, True),
        (JobStatus.CANCELED, ORPHAN_AGE + MOMENT, True),
        (JobStatus.QUEUED, 9 * WEEK, False),
        (JobStatus.RUNNING, 9 * WEEK, False),
        (JobStatus.SUCCEEDED, 9 * WEEK, False),
    ],
)
def test_which_pictures_have_outlived_their_job(
    status: JobStatus | None, age: timedelta, goes: bool
) -> None:
    assert is_outlived(status, age, WEEK) is goes


def stored(pictures: PictureStore, job_id: str) -> str:
    key = picture_key(job_id, 0, OutputFormat.PNG)
    pictures.put(key, b"picture", "image/png")
    return key


async def test_a_sweep_deletes_what_no_record_names_and_counts_it(
    store: JobStore,
    redis: ArqRedis,
    pictures: PictureStore,
    request_: AdmittedRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "ORPHAN_AGE", timedelta(0))
    gone, canceled, kept = new_job_id(), await store.submit(request_), await store.submit(request_)
    doomed = {stored(pictures, gone), stored(pictures, canceled.id)}
    wanted = stored(pictures, kept.id)
    pictures.put("notes/of-somebody-else.txt", b"not ours", "text/plain")
    await store.cancel(canceled.id)
    swept = await sweep(redis, pictures, retention_s=0)
    assert swept.deleted >= 2
    assert swept.deleted_bytes >= 14
    left = {picture.key for page in pictures.pages() for picture in page}
    assert wanted in left
    assert not doomed & left
    again = await sweep(redis, pictures, retention_s=0)
    assert (again.deleted, again.pictures) == (0, len(left))
    pictures.delete(["notes/of-somebody-else.txt", *left])


async def test_only_one_worker_sweeps_at_a_time(redis: ArqRedis, pictures: PictureStore) -> None:
    key = stored(pictures, new_job_id())
    await redis.set(keys.PICTURE_SWEEP, 1)
    await sweep_in_turn(redis, pictures, 0, every_s=60)
    assert [picture.key for page in pictures.pages() for picture in page] == [key]
    await redis.delete(keys.PICTURE_SWEEP)
    await sweep_in_turn(redis, pictures, 0, every_s=60)
    assert not [picture for page in pictures.pages() for picture in page]
    assert 0 < await redis.pttl(keys.PICTURE_SWEEP) <= 60_000


async def test_a_finished_job_tells_when_it_will_be_forgotten(
    store: JobStore, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_)
    claimed = await store.claim(job.id, MODEL, WORKER)
    assert claimed is not None
    await store.succeed(claimed[1], [])
    done = await store.get(job.id)
    assert done.expires_at is not None
    assert done.finished_at is not None
    assert done.expires_at - done.finished_at == WEEK
    assert abs(done.finished_at.timestamp() - time.time()) < 60
