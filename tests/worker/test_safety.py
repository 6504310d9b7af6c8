"""A job whose pictures nobody is to see, through a real worker with a real classifier."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from arq.connections import ArqRedis
from PIL import Image as PillowImage
from tiny_classifier import save_classifier

from jobs import events, keys
from jobs.events import EventKind
from jobs.model import AdmittedRequest, Job, JobStatus
from jobs.storage import PictureStore, picture_key
from jobs.store import JobStore
from pipelines.catalog import Catalog
from worker.develop import Developer

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def guarded(developer: Developer, tmp_path: Path) -> Developer:
    """A worker whose model has a checker that finds something in every picture."""
    entry = {
        "family": "stable-diffusion",
        "source": str(REPOSITORY / "pipelines/demo/shapes-sd"),
        "size": {"default": [64, 64], "max": 128, "max_pixels": 16384},
        "safety_checker": {"source": str(save_classifier(tmp_path / "checker", "nsfw"))},
    }
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"guarded": entry}))
    return replace(developer, catalog=Catalog.load(tmp_path / "models.yaml"))


async def test_a_withheld_picture_leaves_nothing_of_itself(
    working: Callable[..., AbstractAsyncContextManager[Developer]],
    until: Callable[..., Awaitable[Job]],
    guarded: Developer,
    store: JobStore,
    pictures: PictureStore,
    redis: ArqRedis,
    request_: AdmittedRequest,
) -> None:
    asked = request_.model_copy(update={"model": "guarded", "steps": 100, "images": 2})
    job = await store.submit(asked)
    async with redis.pubsub() as watcher:
        await watcher.subscribe(keys.changes(job.id))
        async with working("guarded", guarded):
            done = await until(job.id, lambda job: job.status.finished)
    assert done.status is JobStatus.SUCCEEDED
    assert [(image.flagged, image.withheld) for image in done.images] == [(("nsfw",), True)] * 2
    told = await events.read(redis, job.id, count=1_000)
    assert EventKind.PROGRESS in {event.kind for event in told}
    assert EventKind.PREVIEW not in {event.kind for event in told}
    for image in done.images:
        content = pictures.get(picture_key(job.id, image.index, asked.output_format))
        picture = PillowImage.open(BytesIO(content))
        assert picture.getextrema() == ((0, 0),) * 3
        assert picture.info == {}, "nor does its file tell how to make it elsewhere"
