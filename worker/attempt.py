"""One attempt at a job: its images in the engine, then on their way to storage."""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress

from jobs import metrics
from jobs.errors import StoreUnavailableError
from jobs.events import EventKind
from jobs.model import Image, Job
from jobs.settings import Settings
from jobs.storage import picture_key
from pipelines.catalog import ModelSpec
from pipelines.engine import Engine
from pipelines.handle import Handle
from pipelines.pipeline import ImageRequest, Picture, Progress
from worker.encoding import encode
from worker.making import making_of
from worker.observing import note_phases, stage
from worker.outbox import Kept, Outbox

#: Between two previews of one image.
PREVIEW_INTERVAL_S = 0.5
#: How long storage may stay away beyond the time that the job itself may take.
STORING_GRACE_S = 240.0


class Attempt:
    """Makes every picture of a job and stores it. What the outbox has is not made again."""

    def __init__(
        self, job: Job, spec: ModelSpec, engine: Engine, outbox: Outbox, settings: Settings
    ) -> None:
        self._job, self._spec, self._engine, self._outbox = job, spec, engine, outbox
        self._settings, self._timeout_s = settings, settings.job_timeout_s
        self._deadline = time.monotonic() + self._timeout_s
        self._handles: dict[int, Handle] = {}
        #: Steps of images that are finished.
        self._finished_steps = 0
        self._is_watched = False
        self._preview_due: dict[int, float] = {}
        #: What there is to tell those who watch: kind and data.
        self.news: asyncio.Queue[tuple[EventKind, str]] = asyncio.Queue()

    @property
    def step(self) -> int:
        """How far the job is, summed over its images."""
        asked = self._job.request.steps
        under_way = sum(steps_done(asked, handle.progress) for handle in self._handles.values())
        return self._finished_steps + under_way

    def set_watched(self, is_watched: bool) -> None:
        """Previews are drawn while somebody watches, and never of what may be withheld."""
        self._is_watched = is_watched and not self._spec.withholds
        for index, handle in self._handles.items():
            handle.on_progress = self._preview_of(index) if self._is_watched else None

    async def run(self, on_developed: Callable[[], None]) -> list[Image]:
        """
        Args:
            on_developed: called once every picture lies on disk and only storing them is left.

        Raises:
            ExceptionGroup: of what went wrong with the images.
            StoreUnavailableError: storage stayed away for too long; the pictures are kept.
        """
        try:
            async with (
                asyncio.timeout(self._timeout_s + STORING_GRACE_S),
                asyncio.TaskGroup() as tasks,
            ):
                making = [
                    tasks.create_task(self._made(index))
                    for index in range(self._job.request.images)
                ]
                storing = [tasks.create_task(self._stored(made)) for made in making]
                kept = await asyncio.gather(*making)
                if all(picture.is_on_disk for picture in kept):
                    on_developed()
            return [task.result() for task in storing]
        except TimeoutError:
            raise StoreUnavailableError("storage stayed away for too long") from None
        finally:
            for handle in self._handles.values():
                handle.cancel()

    async def _made(self, index: int) -> Kept:
        """One picture, from the outbox or from the engine."""
        if found := await asyncio.to_thread(self._outbox.find, self._job.id, index):
            self._finished_steps += self._job.request.steps
            return found
        request = image_request(self._job, index, self._deadline)
        on_progress = self._preview_of(index) if self._is_watched else None
        handle = self._engine.submit(self._spec, request, on_progress=on_progress)
        self._handles[index] = handle
        picture = await asyncio.wrap_future(handle.future)
        note_phases(handle)
        with stage("picture", self._spec.name):
            return await asyncio.to_thread(self._encoded, index, picture)

    def _encoded(self, index: int, picture: Picture) -> Kept:
        request, output_format = self._job.request, self._job.request.output_format
        is_told = self._settings.picture_metadata and not picture.is_withheld
        making = making_of(request, index, self._spec) if is_told else None
        content = encode(picture.image, output_format, making, request.output_quality)
        image = Image(
            index=index,
            seed=request.seed + index,
            width=picture.image.width,
            height=picture.image.height,
            content_type=output_format.content_type,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            warnings=picture.warnings,
            flagged=picture.flagged,
            withheld=picture.is_withheld,
        )
        return self._outbox.keep(self._job.id, image, content)

    async def _stored(self, making: "asyncio.Task[Kept]") -> Image:
        kept = await making
        key = picture_key(self._job.id, kept.image.index, self._job.request.output_format)
        with stage("upload", self._spec.name):
            await self._outbox.deliver(key, kept)
        metrics.IMAGES.labels(self._spec.name).inc()
        self.news.put_nowait((EventKind.IMAGE, kept.image.model_dump_json(exclude={"url"})))
        return kept.image

    def _preview_of(self, index: int) -> Callable[[Progress], None]:
        """What the engine calls on a thread of its own."""
        loop = asyncio.get_running_loop()

        def shown(progress: Progress) -> None:
            # Whoever stops the engine last may have closed the loop.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._show, index, progress)

        return shown

    def _show(self, index: int, progress: Progress) -> None:
        now = time.monotonic()
        if progress.preview is None or now < self._preview_due.get(index, 0):
            return
        self._preview_due[index] = now + PREVIEW_INTERVAL_S
        preview = {
            "index": index,
            "step": steps_done(self._job.request.steps, progress),
            "content_type": "image/webp",
            "data": base64.b64encode(progress.preview).decode(),
        }
        self.news.put_nowait((EventKind.PREVIEW, json.dumps(preview)))


def steps_done(asked: int, progress: Progress) -> int:
    """Progress in the steps that were asked for: some schedulers take more passes than that."""
    return asked * progress.step // max(progress.steps, 1)


def image_request(job: Job, index: int, deadline: float) -> ImageRequest:
    """One image of a job, as the engine takes it. Picture i is made from seed + i."""
    request = job.request
    return ImageRequest(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        width=request.width,
        height=request.height,
        steps=request.steps,
        guidance_scale=request.guidance_scale,
        seed=request.seed + index,
        scheduler=request.scheduler,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        deadline=deadline,
    )
