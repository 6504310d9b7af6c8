"""A tenant's jobs, newest first, a page at a time; what is submitted meanwhile moves no page."""

import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from arq.connections import ArqRedis
from redis.exceptions import ResponseError

from jobs import keys
from jobs.access.model import DEFAULT_TENANT
from jobs.connection import redis_errors
from jobs.errors import NewerRecordError
from jobs.model import Job, JobStatus
from jobs.record import first_id_at, job_from_record, record_from_hash

log = logging.getLogger("darkroom.jobs")

#: Records read at once, and at most for one page: a rare filter must not hold Redis up.
READ_AT_ONCE, MOST_READ = 100, 2_000
#: An id is made by the clock of an API, and a job's time told by Redis's.
_SKEW_S = 60
#: Sorts after every id, which are all hex.
_AFTER_ALL = "g"


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which jobs are wanted; what is None does not matter."""

    status: JobStatus | None = None
    model: str | None = None
    #: A label's name and value.
    label: tuple[str, str] | None = None
    #: Only jobs of this batch.
    batch: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None

    def takes(self, job: Job) -> bool:
        """Whether a job is wanted; its batch is looked at elsewhere."""
        name, value = self.label or ("", None)
        return (
            (self.created_from is None or job.created_at >= self.created_from)
            and (self.created_before is None or job.created_at < self.created_before)
            and self.status in (None, job.status)
            and self.model in (None, job.request.model)
            and (value is None or job.request.labels.get(name) == value)
        )


@dataclass(frozen=True)
class Page:
    """Some jobs, and the id to go on after; None at the end."""

    jobs: list[Job]
    next: str | None


async def page(
    redis: ArqRedis, tenant: str, wanted: Filter, *, after: str | None, limit: int
) -> Page:
    """The next jobs older than `after`, at most `limit`.

    A page can be short, even empty, with more to come: then few of many jobs were wanted.
    """
    found: list[Job] = []
    read = 0
    with redis_errors():
        while read < MOST_READ:
            job_ids = await _next_ids(redis, tenant, wanted, after)
            if not job_ids:
                return Page(found, None)
            for job_id, job in await _read(redis, tenant, job_ids):
                after = job_id
                if job is not None and wanted.takes(job):
                    found.append(job)
                    if len(found) == limit:
                        return Page(found, after)
            read += len(job_ids)
    return Page(found, after)


async def _next_ids(redis: ArqRedis, tenant: str, wanted: Filter, after: str | None) -> list[str]:
    """The newest ids that are older than `after` and within the time that is wanted."""
    before, since = wanted.created_before, wanted.created_from
    below = min(after or _AFTER_ALL, first_id_at(before, _SKEW_S) if before else _AFTER_ALL)
    oldest = first_id_at(since, -_SKEW_S) if since else ""
    if wanted.batch is None:
        some = await redis.zrevrangebylex(
            keys.index(tenant), f"({below}", f"[{oldest}", start=0, num=READ_AT_ONCE
        )
        return [job_id.decode(errors="replace") for job_id in some]
    asked = redis.hmget(keys.batch(wanted.batch), ["jobs", "tenant"])
    together, owner = await cast(Awaitable[list[bytes | None]], asked)
    is_theirs = (owner or DEFAULT_TENANT.encode()).decode(errors="replace") == tenant
    ids = (together or b"").decode(errors="replace").split() if is_theirs else []
    return sorted((job_id for job_id in ids if oldest <= job_id < below), reverse=True)[
        :READ_AT_ONCE
    ]


async def _read(redis: ArqRedis, tenant: str, job_ids: list[str]) -> list[tuple[str, Job | None]]:
    """The jobs of these ids, as far as we can read them.

    Those whose record has expired leave the index.
    """
    async with redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hgetall(keys.job(job_id))
        records: list[dict[Any, Any] | Exception] = await pipe.execute(raise_on_error=False)
    gone = [job_id for job_id, record in zip(job_ids, records, strict=True) if not record]
    if gone:
        await redis.zrem(keys.index(tenant), *gone)
    return [
        (job_id, _job(job_id, record) if record else None)
        for job_id, record in zip(job_ids, records, strict=True)
    ]


def _job(job_id: str, record: dict[Any, Any] | Exception) -> Job | None:
    """A job; None where its record cannot be read, which is no reason to show no others."""
    try:
        if isinstance(record, Exception):
            raise record
        return job_from_record(job_id, record_from_hash(record))
    except NewerRecordError:
        return None
    except (ResponseError, KeyError, ValueError, TypeError, OverflowError, OSError):
        log.exception("the record of job %s cannot be read", job_id)
        return None
