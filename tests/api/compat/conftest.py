"""A worker's part, played by hand, for clients that wait on their very request."""

import asyncio
import hashlib
import json
from dataclasses import dataclass

import pytest
from arq.connections import ArqRedis

from jobs import keys
from jobs.events import EventKind
from jobs.lease import Lease
from jobs.model import Failure, Image, Job
from jobs.storage import PictureStore, picture_key
from jobs.store import JobStore

MODEL, WORKER = "shapes-sd", "here:1:abc"


@dataclass
class Hand:
    """Takes jobs of a model from the line and ends them as it is told to."""

    redis: ArqRedis
    jobs: JobStore
    pictures: PictureStore

    async def waiting(self, count: int = 1) -> list[str]:
        """The ids of the jobs in line, once there are so many, each with a client that waits."""
        async with asyncio.timeout(10):
            while len(line := await self.redis.zrange(keys.queue(MODEL), 0, -1)) < count:
                await asyncio.sleep(0.01)
            ids = [job_id.decode() for job_id in line]
            for job_id in ids:
                while not (await self.redis.pubsub_numsub(keys.changes(job_id)))[0][1]:
                    await asyncio.sleep(0.01)
        return ids

    async def take(self) -> tuple[Job, Lease]:
        """The job that is first in line."""
        claimed = await self.jobs.claim((await self.waiting())[0], MODEL, WORKER)
        assert claimed is not None
        return claimed

    async def preview(self, lease: Lease, index: int, step: int, data: str = "AA==") -> None:
        told = {"index": index, "step": step, "content_type": "image/webp", "data": data}
        await self.jobs.emit(lease, EventKind.PREVIEW, json.dumps(told))

    async def succeed(self, job: Job, lease: Lease, *, is_stored: bool = True) -> list[bytes]:
        """End a job with pictures, whose files are given back: each begins with its number."""
        request, images = job.request, []
        contents = [b"%d: a picture" % index for index in range(request.images)]
        for index, content in enumerate(contents):
            key = picture_key(job.id, index, request.output_format)
            if is_stored:
                self.pictures.put(key, content, request.output_format.content_type)
            image = Image(
                index=index,
                seed=request.seed + index,
                width=request.width,
                height=request.height,
                content_type=request.output_format.content_type,
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
            images.append(image)
        await self.jobs.succeed(lease, images)
        return contents

    async def fail(self, lease: Lease) -> None:
        await self.jobs.fail(lease, Failure(type="out-of-memory", detail="it does not fit"))

    async def status(self, job_id: str) -> str:
        return (await self.jobs.get(job_id)).status.value

    async def until_canceled(self, job_id: str) -> None:
        async with asyncio.timeout(10):
            while await self.status(job_id) != "canceled":
                await asyncio.sleep(0.01)


@pytest.fixture
def hand(redis: ArqRedis, store: JobStore, pictures: PictureStore) -> Hand:
    return Hand(redis, store, pictures)
