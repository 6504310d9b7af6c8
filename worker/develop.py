"""The arq task: one job, from its lease to its pictures in storage."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from jobs import analytics, metrics, tracing
from jobs.errors import (
    JobError,
    JobNotFoundError,
    LeaseLostError,
    StoreUnavailableError,
    TransitionError,
)
from jobs.lease import Lease, keep
from jobs.model import Failure, Image, Job, JobStatus
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.tasks import is_told_to_end
from pipelines.catalog import Catalog
from pipelines.engine import Engine
from pipelines.errors import PipelineError
from worker.attempt import Attempt
from worker.company import Company
from worker.outbox import Outbox

log = logging.getLogger("darkroom.worker")

#: Between two tries to tell a Redis that is away how a job ended.
RETRY_S = 0.2


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    #: Its client wanted it no more.
    CANCELED = "canceled"
    #: The lease had run out, and somebody else has the job.
    LOST = "lost"
    #: The worker stopped, or storage stayed away: handed back to the queue.
    RELEASED = "released"


@dataclass(frozen=True, kw_only=True)
class Developer:
    """Develops jobs: one instance serves every job of the process, all through one engine."""

    settings: Settings
    catalog: Catalog
    engine: Engine
    jobs: JobStore
    outbox: Outbox
    #: Names this process in the record of each attempt.
    worker: str
    company: Company = field(default_factory=Company)

    async def develop(self, job_id: str, model: str, on_developed: Callable[[], None]) -> None:
        """Take a job through to its end. Whatever happens, the worker lives on.

        Args:
            on_developed: called once the pictures are safe on disk and only storing them is left.

        Raises:
            StoreUnavailableError: Redis or S3 is away, so the job must stay in the queue.
        """
        parent = await self.jobs.field(job_id, "traceparent") if tracing.is_on() else None
        attributes = {"darkroom.job_id": job_id, "darkroom.model": model}
        # One attempt left, and all others lost their worker: the job may be what killed them.
        is_suspect = 0 < await self.jobs.attempts(job_id) == self.settings.max_attempts - 1
        async with self.company.join(alone=is_suspect) as leave_company:

            def developed() -> None:
                leave_company()
                on_developed()

            with tracing.span(
                "develop", parent=parent, kind=tracing.CONSUMER, attributes=attributes
            ) as span:
                with tracing.span("claim"):
                    claimed = await self.jobs.claim(job_id, model, self.worker)
                if claimed:
                    _note_start(claimed[0], parent)
                    outcome = await self._measured(*claimed, developed)
                    span.set_attribute("darkroom.outcome", outcome)

    async def _measured(self, job: Job, lease: Lease, developed: Callable[[], None]) -> Outcome:
        """One attempt, and what is told of it to those who count."""
        begun_s, outcome = time.monotonic(), Outcome.RELEASED
        await self._tell_analysts("job started", job)
        try:
            outcome = await self._see_through(job, lease, developed)
        finally:
            took_s = time.monotonic() - begun_s
            metrics.ATTEMPT_SECONDS.labels(job.request.model, outcome).observe(took_s)
        if outcome in (Outcome.SUCCEEDED, Outcome.FAILED):
            await self._tell_analysts(f"job {outcome}", job, seconds=round(took_s, 3))
        return outcome

    async def _tell_analysts(self, event: str, job: Job, **more: float) -> None:
        if analytics.is_on():
            with suppress(StoreUnavailableError):
                tenant = await self.jobs.field(job.id, "tenant") or ""
                analytics.tell(event, tenant, job.request, attempt=len(job.attempts), **more)

    async def _see_through(self, job: Job, lease: Lease, developed: Callable[[], None]) -> Outcome:
        """One attempt, and what is told of its end to the job's record."""
        try:
            images = await self._attempt(job, lease, developed)
            with tracing.span("finish"):
                await self._tell(lambda: self.jobs.succeed(lease, images))
            log.info("job %s succeeded", job.id)
            return Outcome.SUCCEEDED
        except (JobNotFoundError, LeaseLostError, TransitionError):
            return await self._let_go(job)
        except (asyncio.CancelledError, StoreUnavailableError):
            # The worker is stopping, or storage stays away: somebody else may start at once.
            await asyncio.shield(self._release(lease))
            raise
        except PipelineError as error:
            await self._fail(lease, Failure(type=_kind(error), detail=str(error)))
        except Exception:
            log.exception("job %s failed", job.id)
            detail = "something went wrong on our side; the service's log holds the cause"
            await self._fail(lease, Failure(type="internal-error", detail=detail))
        return Outcome.FAILED

    async def _let_go(self, job: Job) -> Outcome:
        """A job that is not ours any more, and why."""
        try:
            is_wanted = (await self.jobs.get(job.id)).status is not JobStatus.CANCELED
        except JobNotFoundError:
            is_wanted = False
        except StoreUnavailableError:
            is_wanted = True
        if not is_wanted:
            log.info("job %s was cancelled; dropped", job.id)
            return Outcome.CANCELED
        metrics.LEASES_LOST.labels(job.request.model).inc()
        log.warning("job %s has another holder; dropped", job.id)
        return Outcome.LOST

    async def _attempt(
        self, job: Job, lease: Lease, on_developed: Callable[[], None]
    ) -> list[Image]:
        """Make and store every picture of a job, and hold its lease meanwhile."""
        spec = self.catalog[job.request.model]
        attempt = Attempt(job, spec, self.engine, self.outbox, self.settings)
        try:
            async with asyncio.TaskGroup() as tasks:
                heartbeat = tasks.create_task(
                    keep(
                        lease,
                        self.jobs,
                        lambda: attempt.step,
                        lease_s=self.settings.lease_s,
                        progress_interval_s=self.settings.progress_interval_s,
                        on_report=attempt.set_watched,
                    )
                )
                telling = tasks.create_task(self._tell_news(lease, attempt))
                images = await attempt.run(on_developed)
                await attempt.news.join()
                telling.cancel()
                heartbeat.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        return images

    async def _tell_news(self, lease: Lease, attempt: Attempt) -> None:
        """Tell those who watch, for ever; what happens while Redis is away they miss."""
        while not is_told_to_end():
            kind, data = await attempt.news.get()
            with suppress(StoreUnavailableError):
                await self.jobs.emit(lease, kind, data)
            attempt.news.task_done()

    async def _tell(self, action: Callable[[], Awaitable[None]]) -> None:
        """Tell Redis how a job ended; while it is away, again and again."""
        deadline = time.monotonic() + self.settings.job_timeout_s
        while True:
            try:
                return await action()
            except StoreUnavailableError:
                if is_told_to_end() or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(RETRY_S)

    async def _fail(self, lease: Lease, failure: Failure) -> None:
        log.warning("job %s failed: %s", lease.job_id, failure.detail)
        try:
            await self._tell(lambda: self.jobs.fail(lease, failure))
        except (JobNotFoundError, LeaseLostError, TransitionError) as error:
            log.warning("%s", error)

    async def _release(self, lease: Lease) -> None:
        try:
            await self.jobs.release(lease)
            log.info("job %s handed back", lease.job_id)
        except JobError as error:
            log.warning("%s", error)


def _note_start(job: Job, parent: str | None) -> None:
    """Tell of a job that was just claimed, and of its wait."""
    request, attempts = job.request, len(job.attempts)
    log.info("job %s started (attempt %d): %s", job.id, attempts, _summary(job))
    assert job.started_at is not None
    if attempts > 1:
        metrics.RETRIES.labels(request.model).inc()
    else:
        waited_s = (job.started_at - job.created_at).total_seconds()
        metrics.JOB_WAIT_SECONDS.labels(request.model, request.lane).observe(waited_s)
    tracing.record("queue", job.created_at.timestamp(), job.started_at.timestamp(), parent=parent)


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
