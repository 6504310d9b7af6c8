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
from jobs.model import Image
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
        """A job from its claim to its picture in storage."""
        claimed = await self.store.claim(job.id, MODEL, WORKER)
        assert claimed is not None
        lease = claimed[1]
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
        image = Image(
            index=0,
            seed=7,
            width=64,
            height=64,
            content_type="image/png",
            size_bytes=len(PICTURE),
            sha256=hashlib.sha256(PICTURE).hexdigest(),
        )
        key = picture_key(job.id, 0, claimed[0].request.output_format)
        await asyncio.to_thread(self.pictures.put, key, PICTURE, "image/png")
        await self.store.emit(lease, EventKind.IMAGE, image.model_dump_json(exclude={"url"}))
        await self.store.succeed(lease, [image])
