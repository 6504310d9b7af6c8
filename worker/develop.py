"""The arq task: one job, from its lease to its pictures in storage."""

import asyncio
import logging
import time
from dataclasses import dataclass

from jobs.errors import (
    JobError,
    JobNotFoundError,
    LeaseLostError,
    StoreUnavailableError,
    TransitionError,
)
from jobs.lease import Lease, keep
from jobs.model import Failure, Image, Job
from jobs.settings import Settings
from jobs.storage import PictureStore, picture_key
from jobs.store import JobStore
from pipelines.catalog import Catalog
from pipelines.engine import Engine
from pipelines.errors import PipelineError
from pipelines.handle import Handle
from pipelines.pipeline import ImageRequest, Progress
from worker.encoding import encode

log = logging.getLogger("darkroom.worker")


@dataclass(frozen=True, kw_only=True)
class Developer:
    """Develops jobs: one instance serves every job of the process, all through one engine."""

    settings: Settings
    catalog: Catalog
    engine: Engine
    jobs: JobStore
    pictures: PictureStore

    async def develop(self, job_id: str, model: str) -> None:
        """Take a job through to its end. Whatever happens, the worker lives on.

        Raises:
            StoreUnavailableError: Redis or S3 is away, so the job must stay in the queue.
        """
        claimed = await self.jobs.claim(job_id, model)
        if claimed is None:
            return
        job, lease = claimed
        if job.attempt > self.settings.max_attempts:
            detail = f"the job was started {self.settings.max_attempts} times and never finished"
            await self.jobs.fail(lease, Failure(type="too-many-attempts", detail=detail))
            return
        log.info("job %s started (attempt %d): %s", job_id, job.attempt, _summary(job))
        try:
            await self._attempt(job, lease)
        except LeaseLostError:
            log.warning("job %s was cancelled or has another holder; dropped", job_id)
        except asyncio.CancelledError:
            # The worker is stopping: somebody else may start at once.
            await asyncio.shield(self._release(lease))
            raise
        except StoreUnavailableError:
            raise
        except PipelineError as error:
            await self._fail(lease, Failure(type=_kind(error), detail=str(error)))
        except Exception:
            log.exception("job %s failed", job_id)
            detail = "something went wrong on our side; the service's log holds the cause"
            await self._fail(lease, Failure(type="internal-error", detail=detail))

    async def _attempt(self, job: Job, lease: Lease) -> None:
        deadline = time.monotonic() + self.settings.job_timeout_s
        spec = self.catalog[job.request.model]
        handles = [
            self.engine.submit(spec, image_request(job, index, deadline))
            for index in range(job.request.images)
        ]

        def step() -> int:
            return sum(steps_done(job.request.steps, handle.progress) for handle in handles)

        try:
            async with asyncio.TaskGroup() as tasks:
                heartbeat = tasks.create_task(
                    keep(
                        lease,
                        self.jobs,
                        step,
                        lease_s=self.settings.lease_s,
                        progress_interval_s=self.settings.progress_interval_s,
                    )
                )
                storing = [
                    tasks.create_task(self._store(job, index, handle))
                    for index, handle in enumerate(handles)
                ]
                images = await asyncio.gather(*storing)
                heartbeat.cancel()
            await self.jobs.succeed(lease, images, step())
            log.info("job %s succeeded", job.id)
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            for handle in handles:
                handle.cancel()

    async def _store(self, job: Job, index: int, handle: Handle) -> Image:
        """Wait for one image and put it into storage, off the event loop."""
        picture = await asyncio.wrap_future(handle.future)
        output_format = job.request.output_format

        def encoded_and_put() -> Image:
            content = encode(picture.image, output_format)
            key = picture_key(job.id, index, output_format)
            return Image(
                index=index,
                seed=job.request.seed + index,
                width=picture.image.width,
                height=picture.image.height,
                content_type=output_format.content_type,
                size_bytes=len(content),
                sha256=self.pictures.put(key, content, output_format.content_type),
                warnings=picture.warnings,
            )

        return await asyncio.to_thread(encoded_and_put)

    async def _fail(self, lease: Lease, failure: Failure) -> None:
        log.warning("job %s failed: %s", lease.job_id, failure.detail)
        try:
            await self.jobs.fail(lease, failure)
        except (JobNotFoundError, LeaseLostError, TransitionError) as error:
            log.warning("%s", error)

    async def _release(self, lease: Lease) -> None:
        try:
            await self.jobs.release(lease)
            log.info("job %s handed back", lease.job_id)
        except JobError as error:
            log.warning("%s", error)


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
        deadline=deadline,
    )


def _summary(job: Job) -> str:
    """What the log tells of a job; a prompt is its author's business."""
    request = job.request
    return (
        f"{request.model} {request.images} x {request.width}x{request.height}, "
        f"{request.steps} steps"
    )


def _kind(error: PipelineError) -> str:
    """`OutOfMemoryError` -> `out-of-memory`."""
    words = type(error).__name__.removesuffix("Error")
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in words).lstrip("-")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that tells most: a lost lease before what it made fail."""
    errors = list(_flattened(group))
    return next((error for error in errors if isinstance(error, LeaseLostError)), errors[0])


def _flattened(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    flat: list[BaseException] = []
    for error in group.exceptions:
        flat.extend(_flattened(error) if isinstance(error, BaseExceptionGroup) else [error])
    return flat
