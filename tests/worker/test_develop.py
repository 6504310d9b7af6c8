"""A job's way through a real worker: arq, engine, shipped model and S3."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from jobs.model import AdmittedRequest, Job, JobStatus, OutputFormat
from jobs.settings import Settings
from jobs.storage import PictureStore, picture_key
from jobs.store import JobStore
from pipelines.catalog import Catalog, ModelSpec
from pipelines.engine import Engine
from pipelines.loading import load_pipeline
from pipelines.pipeline import Pipeline, Progress, State
from worker.attempt import steps_done
from worker.develop import Developer

Until = Callable[..., Awaitable[Job]]
Working = Callable[..., AbstractAsyncContextManager[Developer]]


def finished(job: Job) -> bool:
    return job.status.finished


def fetch(pictures: PictureStore, job: Job, index: int) -> bytes:
    key = picture_key(job.id, index, job.request.output_format)
    return httpx.get(pictures.presign(key)).content


@pytest.mark.parametrize("output_format", OutputFormat)
async def test_a_job_ends_with_its_pictures_in_storage(
    working: Working,
    until: Until,
    store: JobStore,
    pictures: PictureStore,
    request_: AdmittedRequest,
    output_format: OutputFormat,
) -> None:
    job = await store.submit(
        request_.model_copy(update={"images": 2, "output_format": output_format})
    )
    async with working():
        done = await until(job.id, finished)
    assert done.status is JobStatus.SUCCEEDED
    assert [image.seed for image in done.images] == [7, 8]
    assert done.progress.step == done.progress.steps == 40
    for image in done.images:
        content = fetch(pictures, done, image.index)
        picture = PillowImage.open(BytesIO(content))
        assert picture.format == output_format.value.upper()
        assert picture.size == (image.width, image.height) == (64, 64)
        assert len(content) == image.size_bytes
        assert hashlib.sha256(content).hexdigest() == image.sha256


async def test_the_same_seed_gives_the_same_picture_alone_and_in_company(
    working: Working,
    until: Until,
    store: JobStore,
    pictures: PictureStore,
    request_: AdmittedRequest,
) -> None:
    async with working():
        alone = await until((await store.submit(request_)).id, finished)
        crowd = [request_.model_copy(update={"seed": n, "steps": 10 + n}) for n in range(5)]
        company = [await store.submit(request) for request in (*crowd, request_)]
        ended = [await until(job.id, finished) for job in company]
    apart = np.asarray(PillowImage.open(BytesIO(fetch(pictures, alone, 0))), np.int16)
    among = np.asarray(PillowImage.open(BytesIO(fetch(pictures, ended[-1], 0))), np.int16)
    assert np.abs(apart - among).max() <= 1


async def test_a_picture_in_storage_makes_itself_again_byte_for_byte(
    working: Working,
    until: Until,
    store: JobStore,
    pictures: PictureStore,
    request_: AdmittedRequest,
) -> None:
    pair = await store.submit(request_.model_copy(update={"images": 2, "steps": 4}))
    async with working():
        second = fetch(pictures, await until(pair.id, finished), 1)
        carried = json.loads(PillowImage.open(BytesIO(second)).info["darkroom"])["request"]
        again = AdmittedRequest.model_validate({**request_.model_dump(), **carried})
        alone = await until((await store.submit(again)).id, finished)
    assert (again.seed, again.images) == (8, 1)
    assert fetch(pictures, alone, 0) == second


async def test_a_setting_keeps_a_picture_from_telling_its_making(
    working: Working,
    until: Until,
    developer: Developer,
    pictures: PictureStore,
    request_: AdmittedRequest,
) -> None:
    silent = developer.settings.model_copy(update={"picture_metadata": False})
    async with working(by=replace(developer, settings=silent)):
        job = await developer.jobs.submit(request_.model_copy(update={"steps": 4}))
        done = await until(job.id, finished)
    assert PillowImage.open(BytesIO(fetch(pictures, done, 0))).info == {}


async def test_progress_is_seen_step_by_step(
    working: Working, until: Until, store: JobStore, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_.model_copy(update={"steps": 100, "images": 2}))
    seen = set()

    def note(job: Job) -> bool:
        seen.add(job.progress.step)
        return job.status.finished

    async with working():
        await until(job.id, note)
    assert len(seen) >= 3
    assert max(seen) == 200


async def test_cancelling_stops_a_running_job_and_frees_the_engine(
    working: Working, until: Until, store: JobStore, engine: Engine, request_: AdmittedRequest
) -> None:
    long = request_.model_copy(update={"steps": 1_000, "images": 4})
    job = await store.submit(long)
    async with working():
        await until(job.id, lambda job: job.progress.step > 0)
        assert (await store.cancel(job.id)).status is JobStatus.CANCELED
        async with asyncio.timeout(10):
            while engine.images:
                await asyncio.sleep(0.01)
        after = await until((await store.submit(request_)).id, finished)
    assert (await store.get(job.id)).status is JobStatus.CANCELED
    assert after.status is JobStatus.SUCCEEDED


async def test_a_job_that_raises_ends_failed_and_the_worker_lives_on(
    working: Working,
    until: Until,
    store: JobStore,
    developer: Developer,
    request_: AdmittedRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def load(spec: ModelSpec, device: torch.device) -> Pipeline:
        pipeline = load_pipeline(spec, device)
        step = pipeline.step

        def fragile(states: Sequence[State]) -> None:
            if any(state.request.seed == 13 for state in states):
                raise RuntimeError("a defect deep inside")
            step(states)

        pipeline.step = fragile  # type: ignore[method-assign]
        return pipeline

    bad = await store.submit(request_.model_copy(update={"seed": 13}))
    with Engine(torch.device("cpu"), load=load) as engine:
        async with working(by=replace(developer, engine=engine)):
            failed = await until(bad.id, finished)
            after = await until((await store.submit(request_)).id, finished)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert "deep inside" not in failed.error.detail, "a cause is for the log"
    assert "deep inside" in caplog.text
    assert after.status is JobStatus.SUCCEEDED


async def test_a_model_that_cannot_be_loaded_fails_its_jobs_clearly(
    working: Working,
    until: Until,
    store: JobStore,
    developer: Developer,
    request_: AdmittedRequest,
    tmp_path: Path,
) -> None:
    catalogue = tmp_path / "models.yaml"
    catalogue.write_text("lost: {family: stable-diffusion, source: ./nowhere}")
    job = await store.submit(request_.model_copy(update={"model": "lost"}))
    by = replace(developer, catalog=Catalog.load(catalogue))
    async with working("lost", by):
        failed = await until(job.id, finished)
    assert failed.error is not None
    assert failed.error.type == "model-load"
    assert "'lost'" in failed.error.detail
    assert "does not exist" in failed.error.detail


async def test_a_job_out_of_time_fails_and_says_so(
    working: Working,
    until: Until,
    store: JobStore,
    developer: Developer,
    settings: Settings,
    request_: AdmittedRequest,
) -> None:
    by = replace(developer, settings=settings.model_copy(update={"job_timeout_s": 0.05}))
    job = await store.submit(request_.model_copy(update={"steps": 1_000}))
    async with working(by=by):
        failed = await until(job.id, finished)
    assert failed.error is not None
    assert failed.error.type == "deadline"


async def test_a_stopping_worker_hands_its_job_back_unharmed(
    working: Working, until: Until, store: JobStore, request_: AdmittedRequest
) -> None:
    job = await store.submit(request_.model_copy(update={"steps": 1_000}))
    async with working():
        await until(job.id, lambda job: job.progress.step > 0)
    # Leaving the block cancels what runs, as the end of a drain does.
    back = await store.get(job.id)
    assert (back.status, back.attempts) == (JobStatus.QUEUED, ())


@pytest.mark.parametrize(
    ("asked", "passes", "done"),
    [(20, Progress(0, 0), 0), (20, Progress(7, 20), 7), (20, Progress(39, 39), 20)],
)
def test_progress_is_told_in_the_steps_that_were_asked_for(
    asked: int, passes: Progress, done: int
) -> None:
    assert steps_done(asked, passes) == done
