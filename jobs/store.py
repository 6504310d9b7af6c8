"""Job records in Redis. Every change of state is one atomic transition, fenced by the lease."""

import contextlib
import json
import logging
from collections.abc import Awaitable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from arq.connections import ArqRedis

from jobs import analytics, keys, queue
from jobs.access.model import ANYBODY, DEFAULT_TENANT, Caller
from jobs.access.quotas import Quotas
from jobs.backlog import Backlogs
from jobs.connection import redis_errors
from jobs.errors import JobNotFoundError, LeaseLostError, NewerRecordError, TransitionError
from jobs.estimate import estimate, images_per_s
from jobs.events import EventKind
from jobs.exchange import Exchange
from jobs.lease import Lease
from jobs.model import (
    AdmittedRequest,
    Batch,
    Failure,
    Image,
    Job,
    JobStatus,
    QueuePlace,
    states_before,
)
from jobs.record import (
    RECORD_VERSION,
    Fields,
    batch_from_record,
    job_from_fields,
    new_job,
    new_job_id,
    record_from_hash,
)
from jobs.scripts import Scripts
from jobs.settings import Settings
from jobs.standing import Standings
from jobs.submission import Submission

log = logging.getLogger("darkroom.jobs")

#: How many jobs one sweep of a model looks at.
SWEEP_SIZE = 1_000


class JobStore:
    """Every job, from its submission until its record expires."""

    def __init__(self, redis: ArqRedis, settings: Settings) -> None:
        self.redis = redis
        self._settings = settings
        self._lease_ms = int(settings.lease_s * 1000)
        self._retention_ms = settings.retention_s * 1000
        self._events_ms = settings.events_retention_s * 1000
        self._exchange = Exchange(redis)
        self._scripts = Scripts(self._exchange)
        self._standings = Standings(self._exchange)
        self.backlogs = Backlogs(self._exchange, self._standings)
        self.quotas = Quotas(redis, self._exchange)
        self._submission = Submission(
            self._exchange, self._scripts, self._standings, self.quotas, settings
        )
        #: Where each model's sweep goes on.
        self._cursors: dict[str, int] = {}

    async def submit(
        self,
        request: AdmittedRequest,
        *,
        caller: Caller = ANYBODY,
        idempotency_key: str = "",
        fingerprint: str = "",
    ) -> Job:
        """Record a job and put it in line, in one step. Raises as `Submission.submit`.

        Submitting again under the same idempotency key answers with the job that is there.
        """
        taken = await self._submission.submit(
            [request], caller=caller, idempotency_key=idempotency_key, fingerprint=fingerprint
        )
        if taken.created_ms is None:
            return await self.get(taken.id)
        return await self._with_standing(new_job(taken.id, request, taken.created_ms), taken.ahead)

    async def submit_batch(
        self,
        requests: Sequence[AdmittedRequest],
        *,
        caller: Caller = ANYBODY,
        idempotency_key: str = "",
        fingerprint: str = "",
    ) -> Batch:
        """Record all of these jobs and put them in line, or none. Raises as `Submission.submit`."""
        taken = await self._submission.submit(
            requests,
            caller=caller,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
            batch_id=new_job_id(),
        )
        return await self.get_batch(taken.id)

    async def get_batch(self, batch_id: str, *, tenant: str | None = None) -> Batch:
        """
        Args:
            tenant: whose batch it must be.

        Raises:
            JobNotFoundError: there is no such batch, or its record has expired.
        """
        with redis_errors():
            stored = await cast(
                Awaitable[dict[bytes, bytes]], self.redis.hgetall(keys.batch(batch_id))
            )
            record = record_from_hash(stored)
            # Earlier versions did not write whose a batch is.
            if not record or tenant not in (None, record.get("tenant", DEFAULT_TENANT)):
                raise JobNotFoundError(batch_id)
            job_ids = record["jobs"].split()
            async with self.redis.pipeline(transaction=False) as pipe:
                for job_id in job_ids:
                    pipe.hget(keys.job(job_id), "status")
                statuses = await pipe.execute()
            batch = batch_from_record(batch_id, record, [s.decode() for s in statuses if s])
            if not batch.finished:
                await self.redis.pexpire(keys.batch(batch_id), self._retention_ms)
        return batch

    async def cancel_batch(self, batch_id: str, *, tenant: str | None = None) -> Batch:
        """Stop every job of a batch that has not finished. Raises as `get_batch`."""
        batch = await self.get_batch(batch_id, tenant=tenant)
        # The last first: those that wait leave no gap in their tenant's turns.
        for job_id in reversed(batch.jobs):
            with contextlib.suppress(JobNotFoundError, TransitionError):
                await self.cancel(job_id)
        return await self.get_batch(batch_id)

    async def get(self, job_id: str, *, tenant: str | None = None) -> Job:
        """
        Args:
            tenant: whose job it must be.

        Raises:
            JobNotFoundError: there is no such job, or its record has expired.
        """
        stored, ahead = await self._scripts.look(
            keys=[keys.job(job_id)], args=[job_id, keys.queue(""), tenant or ""]
        )
        if not stored:
            raise JobNotFoundError(job_id)
        job = job_from_fields(job_id, tuple(stored))
        return job if job.status.finished else await self._with_standing(job, ahead)

    async def _with_standing(self, job: Job, ahead: int) -> Job:
        """An unfinished job with the estimate of its end, and its place in line or its speed."""
        standing, now = await self._standings.of(job.request.model), datetime.now(UTC)
        expected = estimate(job, standing, ahead=ahead, now=now)
        known: dict[str, Any] = {"estimate": expected}
        if job.status is JobStatus.QUEUED:
            eta_s = expected.eta_s if expected else None
            known["queue"] = QueuePlace(position=ahead, workers=standing.workers, eta_s=eta_s)
        else:
            speed = images_per_s(job, job.progress.step, now)
            known["progress"] = job.progress.model_copy(update={"images_per_s": speed})
        return job.model_copy(update=known)

    async def key_of(self, job_id: str) -> str:
        """The id of the API key that submitted a job; empty without one."""
        key_id: bytes | None = await self._exchange("HGET", keys.job(job_id), "api_key")
        return (key_id or b"").decode()

    async def attempts(self, job_id: str) -> int:
        """How often a job has been started so far; 0 also for one that is not there."""
        lines: bytes | None = await self._exchange("HGET", keys.job(job_id), "attempts")
        return (lines or b"").count(b"\n")

    async def field(self, job_id: str, name: str) -> str | None:
        """What a record holds beside the job itself, such as its `tenant` or `traceparent`."""
        stored: bytes | None = await self._exchange("HGET", keys.job(job_id), name)
        return stored.decode() if stored else None

    async def claim(self, job_id: str, model: str, worker: str) -> tuple[Job, Lease] | None:
        """Take a job that arq has handed out. None when there is nothing left to do on it.

        A job that was started as often as it may be ends here, as failed.

        Raises:
            NewerRecordError: only a worker of a newer version knows how; the job was left alone.
        """
        most = self._settings.max_attempts
        lease = Lease(job_id=job_id, model=model)
        answer = await self._scripts.claim(
            keys=[*keys.of_job(job_id, model), *keys.of_webhook(job_id)],
            args=[job_id, lease.token, self._lease_ms, worker, most, RECORD_VERSION],
        )
        if not answer:
            return None
        earlier, flat = answer
        if earlier == b"newer":
            raise NewerRecordError(job_id, int(flat))
        if earlier >= most:
            detail = f"the job was started {most} times, and each time its worker was lost"
            await self._give_up(lease, "too-many-attempts", detail)
            return None
        try:
            return job_from_fields(job_id, tuple(flat)), lease
        except (KeyError, ValueError):
            log.exception("the record of job %s cannot be read", job_id)
            await self._give_up(lease, "internal-error", "the job's record cannot be read")
            return None

    async def _give_up(self, lease: Lease, kind: str, detail: str) -> None:
        log.warning("job %s is given up: %s", lease.job_id, detail)
        await self.fail(lease, Failure(type=kind, detail=detail))

    async def report(self, lease: Lease, step: int) -> bool:
        """Renew a lease and note how far the job is.

        Returns: whether anybody watches the job.

        Raises:
            LeaseLostError: the job was cancelled or has another holder.
        """
        watchers = await self._scripts.report(
            keys=keys.of_job(lease.job_id, lease.model),
            args=[lease.job_id, lease.token, self._lease_ms, step],
        )
        if watchers < 0:
            raise LeaseLostError(lease.job_id)
        return bool(watchers)

    async def emit(self, lease: Lease, kind: EventKind, data: str) -> None:
        """Note something for those who watch the job. A preview is for those who do so now.

        Raises:
            LeaseLostError: the job was cancelled or has another holder.
        """
        held = await self._scripts.emit(
            keys=keys.of_job(lease.job_id, lease.model),
            args=[lease.job_id, lease.token, kind, data, int(kind is EventKind.PREVIEW)],
        )
        if not held:
            raise LeaseLostError(lease.job_id)

    async def sweep(self, model: str) -> int:
        """Put jobs back in line whose holders went silent, or that the queue has lost.

        Returns: how many. One call looks at `SWEEP_SIZE` jobs and the next one goes on from there;
        those whose lease has lapsed are found at once.
        """
        with redis_errors():
            seconds, microseconds = await self.redis.time()
            now_ms = seconds * 1000 + microseconds // 1000
            lapsed = await self.redis.zrange(
                keys.queue(model), 0, now_ms, byscore=True, offset=0, num=SWEEP_SIZE
            )
            suspects = [job_id.decode() for job_id in (*lapsed, *await self._lost(model))]
            put_back = [
                await self._scripts.restore(
                    keys=keys.of_job(job_id, model), args=[job_id, queue.definition(job_id)]
                )
                for job_id in suspects
            ]
        return sum(put_back)

    async def _lost(self, model: str) -> list[bytes]:
        """Of the next unfinished jobs, those without an entry in the queue."""
        self._cursors[model], some = await self.redis.sscan(
            keys.unfinished(model), self._cursors.get(model, 0), count=SWEEP_SIZE
        )
        if not some:
            return []
        scores = await self.redis.zmscore(keys.queue(model), some)
        return [job_id for job_id, score in zip(some, scores, strict=True) if score is None]

    async def succeed(self, lease: Lease, images: Iterable[Image]) -> None:
        """Every picture is stored. Raises as `_move` does."""
        stored = [image.model_dump(mode="json", exclude_defaults=True) for image in images]
        fields: Fields = {"images": json.dumps(stored, separators=(",", ":"))}
        await self._move(lease.job_id, lease.model, JobStatus.SUCCEEDED, lease.token, fields)

    async def fail(self, lease: Lease, failure: Failure) -> None:
        """The job will never have pictures. Raises as `_move` does."""
        fields = {"error": failure.model_dump_json()}
        await self._move(lease.job_id, lease.model, JobStatus.FAILED, lease.token, fields)

    async def release(self, lease: Lease) -> None:
        """Hand a job back unfinished, to its old place in line. Raises as `_move` does."""
        await self._move(lease.job_id, lease.model, JobStatus.QUEUED, lease.token, {"step": 0})

    async def cancel(self, job_id: str, *, tenant: str | None = None) -> Job:
        """Stop a job, waiting or running; its holder learns it from its next report.

        Args:
            tenant: whose job it must be.

        Raises:
            JobNotFoundError: there is no such job.
            TransitionError: it has finished already.
        """
        job = await self.get(job_id, tenant=tenant)
        await self._move(job_id, job.request.model, JobStatus.CANCELED)
        if analytics.is_on():
            analytics.tell("job canceled", await self.field(job_id, "tenant") or "", job.request)
        return await self.get(job_id)

    async def delete(self, job_id: str, *, tenant: str | None = None) -> Job:
        """Forget a job, and stop it first if need be. What was deleted is given back.

        Args:
            tenant: whose job it must be.

        Raises:
            JobNotFoundError: there is no such job.
        """
        job = await self.get(job_id, tenant=tenant)
        if not job.status.finished:
            with contextlib.suppress(TransitionError):
                await self._move(job_id, job.request.model, JobStatus.CANCELED)
        with redis_errors():
            # The index forgets it when it next meets it.
            await self.redis.delete(keys.job(job_id), keys.events(job_id), keys.deliveries(job_id))
        return job

    async def _move(
        self,
        job_id: str,
        model: str,
        wanted: JobStatus,
        token: str = "",
        fields: Fields | None = None,
    ) -> None:
        """
        Raises:
            JobNotFoundError: the record is gone.
            LeaseLostError: another holder has the job.
            TransitionError: the job's state forbids the move.
        """
        answer = await self._scripts.transition(
            keys=[
                *keys.of_job(job_id, model),
                *keys.of_webhook(job_id),
                keys.UNFINISHED_OF_KEYS,
            ],
            args=[
                job_id,
                wanted,
                ",".join(sorted(states_before(wanted))),
                token,
                self._retention_ms,
                self._events_ms,
                *_flat(fields or {}),
            ],
        )
        match answer.decode():
            case "done":
                return
            case "missing":
                raise JobNotFoundError(job_id)
            case "fenced":
                raise LeaseLostError(job_id)
            case status:
                raise TransitionError(job_id, JobStatus(status), wanted)


def _flat(fields: Fields) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]
