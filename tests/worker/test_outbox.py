"""Pictures on disk until they are stored, on a real disk and a real S3 server behind a gate."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gate import Gate

from jobs.model import AdmittedRequest, Image, OutputFormat
from jobs.settings import Settings
from jobs.storage import PictureStore, picture_key
from jobs.store import JobStore, new_job_id
from worker.outbox import YOUNG_S, Outbox

CONTENT = b"picture\nwith a line break"


@pytest.fixture
def image() -> Image:
    return Image(
        index=0,
        seed=7,
        width=64,
        height=64,
        content_type="image/png",
        size_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


@pytest.fixture
async def s3_gate(settings: Settings) -> AsyncIterator[Gate]:
    gate = Gate(int(str(settings.s3_endpoint).rpartition(":")[2]))
    yield gate
    await gate.close()


@pytest.fixture
def behind_gate(settings: Settings, s3_gate: Gate, tmp_path: Path) -> Outbox:
    endpoint = f"http://127.0.0.1:{s3_gate.port}"
    changes = {"s3_endpoint": endpoint, "s3_timeout_s": 1.0}
    return Outbox(tmp_path / "out", 2**20, PictureStore(settings.model_copy(update=changes)))


def test_a_kept_picture_is_found_again_whole(outbox: Outbox, image: Image) -> None:
    job_id = new_job_id()
    assert outbox.keep(job_id, image, CONTENT).is_on_disk
    found = outbox.find(job_id, 0)
    assert found is not None
    assert found.image == image
    assert outbox.find(job_id, 1) is None


def test_a_picture_that_was_cut_off_is_not_taken_for_one(outbox: Outbox, image: Image) -> None:
    job_id = new_job_id()
    kept = outbox.keep(job_id, image, CONTENT)
    kept.path.write_bytes(kept.path.read_bytes()[:-1])
    assert outbox.find(job_id, 0) is None


def test_files_that_leave_meanwhile_keep_no_picture_off_the_disk(
    outbox: Outbox, image: Image
) -> None:
    def keep_and_let_go(_: int) -> bool:
        kept = outbox.keep(new_job_id(), image, CONTENT)
        kept.path.unlink(missing_ok=True)
        return kept.is_on_disk

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(keep_and_let_go, range(2000)))


def test_what_exceeds_the_limit_stays_in_memory(
    tmp_path: Path, pictures: PictureStore, image: Image, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(tmp_path / "small", 400, pictures)
    first, second = (outbox.keep(new_job_id(), image, CONTENT * 10) for _ in range(2))
    assert first.is_on_disk
    assert second.content == CONTENT * 10
    assert "the outbox is full" in caplog.text


def test_a_disk_that_takes_nothing_costs_no_picture(
    tmp_path: Path, pictures: PictureStore, image: Image, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    outbox = Outbox(tmp_path / "file", 2**20, pictures)
    assert outbox.keep(new_job_id(), image, CONTENT).content == CONTENT
    assert "the outbox cannot be written" in caplog.text


async def test_a_picture_is_stored_once_storage_is_back_and_then_leaves_the_disk(
    behind_gate: Outbox, s3_gate: Gate, pictures: PictureStore, image: Image
) -> None:
    job_id = new_job_id()
    kept = behind_gate.keep(job_id, image, CONTENT)
    key = picture_key(job_id, 0, OutputFormat.PNG)
    delivery = asyncio.create_task(behind_gate.deliver(key, kept))
    done, _ = await asyncio.wait({delivery}, timeout=0.5)
    assert not done
    assert kept.path.exists()
    await s3_gate.open()
    async with asyncio.timeout(60):
        await delivery
    assert key in {picture.key for page in pictures.pages() for picture in page}
    assert not kept.path.exists()


async def test_the_sweep_deletes_only_what_finished_jobs_left_behind(
    outbox: Outbox, store: JobStore, request_: AdmittedRequest, image: Image
) -> None:
    waiting, canceled = await store.submit(request_), await store.submit(request_)
    await store.cancel(canceled.id)
    left = [outbox.keep(job_id, image, CONTENT) for job_id in (canceled.id, new_job_id())]
    wanted, young = (outbox.keep(waiting.id, image, CONTENT), outbox.keep(new_job_id(), image, b""))
    long_ago = time.time() - YOUNG_S - 1
    for kept in (*left, wanted):
        os.utime(kept.path, (long_ago, long_ago))
    assert await outbox.sweep(store) == 2
    assert not any(kept.path.exists() for kept in left)
    assert wanted.path.exists()
    assert young.path.exists()
