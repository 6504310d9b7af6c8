"""Job records in Redis. Every change of state is one atomic transition, fenced by the lease."""

import json
import secrets
import time
from collections.abc import Awaitable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import cast

from arq.connections import ArqRedis
from redis.commands.core import AsyncScript

from jobs import keys, queue
from jobs.connection import redis_errors
from jobs.errors import IdempotencyError, JobNotFoundError, LeaseLostError, TransitionError
from jobs.lease import Lease
from jobs.model import (
    AdmittedRequest,
    Failure,
    Image,
    Job,
    JobStatus,
    Progress,
    states_before,
)
from jobs.settings import Settings

#: The layout of a record, so that neighbouring versions can read each other's.
RECORD_VERSION = 1

Record = Mapping[str, str]
Fields = Mapping[str, str | int]


def new_job_id() -> str:
    """A version 7 UUID in hex: 48 bits of Unix time in ms, then 74 random ones (RFC 9562, 5.7)."""
    unix_ms = time.time_ns() // 1_000_000
    value = (
        unix_ms << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    )
    return f"{value:032x}"


class JobStore:
    """Every job, from its submission until its record expires."""

    def __init__(self, redis: ArqRedis, settings: Settings) -> None:
        self.redis = redis
        self._lease_ms = int(settings.lease_s * 1000)
        self._retention_ms = settings.retention_s * 1000
        self._submit = self._script("submit")
        self._claim = self._script("claim")
        self._report = self._script("report")
        self._sweep = self._script("sweep")
        self._transition = self._script("transition")

    def _script(self, name: str) -> AsyncScript:
        return self.redis.register_script((files("jobs") / "lua" / f"{name}.lua").read_text())

    async def submit(
        self, request: AdmittedRequest, *, idempotency_key: str = "", fingerprint: str = ""
    ) -> Job:
        """Record a job and put it in line, in one step.

        Submitting again under the same idempotency key answers with the job that is there.

        Raises:
            IdempotencyError: the key was used for a request with another fingerprint.
        """
        job_id = new_job_id()
        fields: Fields = {
            "v": RECORD_VERSION,
            "status": JobStatus.QUEUED,
            "request": request.model_dump_json(),
            "attempt": 0,
            "step": 0,
        }
        further = [keys.idempotency(idempotency_key)] if idempotency_key else []
        with redis_errors():
            outcome, *found = await self._submit(
                keys=[*keys.of_job(job_id, request.model), keys.PLACES, *further],
                args=[
                    job_id,
                    queue.definition(job_id),
                    fingerprint,
                    self._retention_ms,
                    *_flat(fields),
                ],
            )
        if outcome == b"conflict":
            raise IdempotencyError(idempotency_key)
        return await self.get(found[0].decode())

    async def get(self, job_id: str) -> Job:
        """
        Raises:
            JobNotFoundError: there is no such job, or its record has expired.
        """
        with redis_errors():
            stored = await cast(Awaitable[dict[bytes, bytes]], self.redis.hgetall(keys.job(job_id)))
        record = {name.decode(): value.decode() for name, value in stored.items()}
        if not record:
            raise JobNotFoundError(job_id)
        return await self._with_place(job_from_record(job_id, record), record)

    async def claim(self, job_id: str, model: str) -> tuple[Job, Lease] | None:
        """Take a job that arq has handed out. None when it has finished in the meantime."""
        lease = Lease(job_id=job_id, model=model)
        with redis_errors():
            flat = await self._claim(
                keys=keys.of_job(job_id, model), args=[job_id, lease.token, self._lease_ms]
            )
        return (job_from_record(job_id, _record(flat)), lease) if flat else None

    async def report(self, lease: Lease, step: int) -> None:
        """Renew a lease and note how far the job is.

        Raises:
            LeaseLostError: the job was cancelled or has another holder.
        """
        with redis_errors():
            held = await self._report(
                keys=keys.of_job(lease.job_id, lease.model),
                args=[lease.job_id, lease.token, self._lease_ms, step],
            )
        if not held:
            raise LeaseLostError(lease.job_id)

    async def sweep(self, model: str) -> int:
        """Put back what a model's queue has lost of its started jobs; says how many."""
        with redis_errors():
            started = await cast(Awaitable[set[bytes]], self.redis.smembers(keys.started(model)))
            put_back = 0
            for job_id in (member.decode() for member in started):
                put_back += await self._sweep(
                    keys=keys.of_job(job_id, model), args=[job_id, queue.definition(job_id)]
                )
        return put_back

    async def succeed(self, lease: Lease, images: Iterable[Image], step: int) -> None:
        """Every picture is stored. Raises as `_move` does."""
        stored = [image.model_dump(mode="json", exclude={"url"}) for image in images]
        fields: Fields = {"images": json.dumps(stored, separators=(",", ":")), "step": step}
        await self._move(lease.job_id, lease.model, JobStatus.SUCCEEDED, lease.token, fields)

    async def fail(self, lease: Lease, failure: Failure) -> None:
        """The job will never have pictures. Raises as `_move` does."""
        fields = {"error": failure.model_dump_json()}
        await self._move(lease.job_id, lease.model, JobStatus.FAILED, lease.token, fields)

    async def release(self, lease: Lease) -> None:
        """Hand a job back unfinished, to its old place in line. Raises as `_move` does."""
        await self._move(lease.job_id, lease.model, JobStatus.QUEUED, lease.token, {"step": 0})

    async def cancel(self, job_id: str) -> Job:
        """Stop a job, waiting or running; its holder learns it from its next report.

        Raises:
            JobNotFoundError: there is no such job.
            TransitionError: it has finished already.
        """
        job = await self.get(job_id)
        await self._move(job_id, job.request.model, JobStatus.CANCELED)
        return await self.get(job_id)

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
        with redis_errors():
            answer = await self._transition(
                keys=keys.of_job(job_id, model),
                args=[
                    job_id,
                    wanted,
                    ",".join(sorted(states_before(wanted))),
                    token,
                    self._retention_ms,
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

    async def _with_place(self, job: Job, record: Record) -> Job:
        if job.status is not JobStatus.QUEUED:
            return job
        with redis_errors():
            place = await queue.place(self.redis, job.request.model, int(record["place"]))
        return job.model_copy(update={"queue": place})


def job_from_record(job_id: str, record: Record) -> Job:
    """Read a record's fields into a job."""
    request = AdmittedRequest.model_validate_json(record["request"])
    error = record.get("error")
    return Job(
        id=job_id,
        status=JobStatus(record["status"]),
        request=request,
        created_at=_moment(record["created_ms"]),
        started_at=_moment(record["started_ms"]) if "started_ms" in record else None,
        finished_at=_moment(record["finished_ms"]) if "finished_ms" in record else None,
        attempt=int(record["attempt"]),
        progress=Progress(step=int(record["step"]), steps=request.steps * request.images),
        images=tuple(
            Image.model_validate(image) for image in json.loads(record.get("images", "[]"))
        ),
        error=Failure.model_validate_json(error) if error else None,
    )


def _moment(unix_ms: str) -> datetime:
    return datetime.fromtimestamp(int(unix_ms) / 1000, UTC)


def _flat(fields: Fields) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]


def _record(flat: list[bytes]) -> Record:
    texts = [part.decode() for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))
