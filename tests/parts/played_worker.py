"""A worker's part, played by hand: what clients see of it, without a model."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from arq.connections import ArqRedis
from darkroom import Job

from jobs import keys
from jobs.events import EventKind
from jobs.model import AdmittedRequest, Image
from jobs.storage import PictureStore, picture_key
from jobs.store import JobStore

MODEL, WORKER = "shapes-sd", "here:1:abc"
#: What stands for a preview and for a picture; nobody looks at them.
PREVIEW, PICTURE = b"a small picture", b"a picture"


@dataclass
class PlayedWorker:
    """Takes jobs from their claim to their end."""

    store: JobStore
    pictures: PictureStore
    redis: ArqRedis

    async def watched(self, job: Job) -> None:
        """Until somebody waits for a job."""
        async with asyncio.timeout(10):
            while not (await self.redis.pubsub_numsub(keys.changes(job.id)))[0][1]:
                await asyncio.sleep(0.01)

    async def develop(
        self,
        job: Job,
        steps: int = 4,
        between: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0),
    ) -> None:
        """A job from its claim to its pictures in storage."""
        model = (await self.store.get(job.id)).request.model
        claimed = await self.store.claim(job.id, model, WORKER)
        assert claimed is not None
        request, lease = claimed[0].request, claimed[1]
        for step in range(1, steps + 1):
            await self.store.report(lease, step)
            await between()
        preview = {
            "index": 0,
            "step": steps,
            "content_type": "image/webp",
            "data": base64.b64encode(PREVIEW).decode(),
        }
        await self.store.emit(lease, EventKind.PREVIEW, json.dumps(preview))
        images = [self._image(request, index) for index in range(request.images)]
        for image in images:
            key = picture_key(job.id, image.index, request.output_format)
            await asyncio.to_thread(self.pictures.put, key, PICTURE, image.content_type)
            await self.store.emit(lease, EventKind.IMAGE, image.model_dump_json(exclude={"url"}))
        await self.store.succeed(lease, images)

    def _image(self, request: AdmittedRequest, index: int) -> Image:
        return Image(
            index=index,
            seed=7 + index,
            width=request.width,
            height=request.height,
            content_type=request.output_format.content_type,
            size_bytes=len(PICTURE),
            sha256=hashlib.sha256(PICTURE).hexdigest(),
        )
