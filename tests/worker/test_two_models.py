"""One worker serves both models that ship, from one engine, at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image

from jobs.model import AdmittedRequest, Job, JobStatus
from jobs.storage import PictureStore, picture_key
from jobs.store import JobStore
from pipelines.engine import Engine
from worker.develop import Developer

Until = Callable[..., Awaitable[Job]]
Working = Callable[..., AbstractAsyncContextManager[Developer]]


@pytest.fixture
def token_request(request_: AdmittedRequest) -> AdmittedRequest:
    return request_.model_copy(
        update={
            "model": "shapes-janus",
            "steps": 64,
            "guidance_scale": 3.0,
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": 0,
        }
    )


async def test_jobs_of_both_models_advance_at_the_same_time(
    working: Working,
    until: Until,
    store: JobStore,
    pictures: PictureStore,
    engine: Engine,
    developer: Developer,
    request_: AdmittedRequest,
    token_request: AdmittedRequest,
) -> None:
    for name in ("shapes-sd", "shapes-janus"):
        await asyncio.wrap_future(engine.models.acquire(developer.catalog[name]))
        engine.models.release(developer.catalog[name])
    denoised = await store.submit(request_.model_copy(update={"steps": 100, "images": 4}))
    drawn = await store.submit(token_request.model_copy(update={"images": 4}))
    async with working(), working("shapes-janus"):
        ended = [await until(job.id, lambda job: job.status.finished) for job in (denoised, drawn)]
    assert max(job.started_at for job in ended) < min(job.finished_at for job in ended)
    assert [job.status for job in ended] == [JobStatus.SUCCEEDED] * 2
    assert [job.progress.step for job in ended] == [400, 4 * 64]
    assert set(engine.models.names) >= {"shapes-sd", "shapes-janus"}
    for job in ended:
        assert_is_red_on_blue(fetch(pictures, job))


def fetch(pictures: PictureStore, job: Job) -> np.ndarray:
    key = picture_key(job.id, 0, job.request.output_format)
    content = httpx.get(pictures.presign(key)).content
    return np.asarray(Image.open(BytesIO(content)).convert("RGB"), float)


def assert_is_red_on_blue(pixels: np.ndarray) -> None:
    middle, edge = pixels[28:36, 28:36].mean((0, 1)), pixels[:2].mean((0, 1))
    assert middle.argmax() == 0
    assert edge.argmax() == 2
