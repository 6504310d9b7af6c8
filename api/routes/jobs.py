"""Submit a job, look at it, stop it."""

import asyncio
import re
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response, status
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field

from api import problems
from api.access import Asking
from api.admission import admit
from api.idempotency import IdempotencyKey, fingerprint
from api.parts import Deps
from api.presenting import answer, etag, with_urls
from api.waiting import PreferHeader, WaitQuery, hold, wait_s
from jobs import listing
from jobs.errors import JobNotFoundError, TransitionError
from jobs.model import JOB_ID_PATTERN, Job, JobRequest, JobStatus
from jobs.storage import picture_keys

ETAG_HEADER = {"ETag": {"description": "Send it as `If-None-Match`.", "schema": {"type": "string"}}}

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
#: Submit and poll, of which there are many: see `api.quick`.
quick = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@quick.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Submit a job",
    response_model=Job,
    responses={
        200: {"model": Job, "description": "It has ended within the wait asked for."},
        202: {"headers": {"Location": {"description": "Poll here.", "schema": {"type": "string"}}}},
        **problems.responses(*problems.OF_SUBMITS, "too-many-waiters"),
    },
)
async def submit(
    request: JobRequest,
    parts: Deps,
    caller: Asking,
    idempotency_key: IdempotencyKey = None,
    wait: WaitQuery = None,
    prefer: PreferHeader = None,
) -> Response:
    """Put a text-to-image job in line. It is never lost once this has answered."""
    for_s = wait_s(wait, prefer)
    with parts.waiters.place(for_s > 0):
        job = await parts.jobs.submit(
            admit(request, parts.catalog, parts.blocklists),
            caller=caller,
            idempotency_key=idempotency_key or "",
            fingerprint=fingerprint(idempotency_key, request),
        )
        job = await hold(parts, job, for_s, lambda job: job.status.finished)
    has_ended = bool(for_s) and job.status.finished
    return answer(job, parts, code=status.HTTP_200_OK if has_ended else status.HTTP_202_ACCEPTED)


def _rfc_3339(text: str) -> str:
    if not re.match(r"\d{4}-\d\d-\d\d[Tt ]", text):
        raise ValueError("a time is written as in RFC 3339, such as 2026-11-25T09:30:00Z")
    return text


Moment = Annotated[AwareDatetime, BeforeValidator(_rfc_3339)]


class JobPage(BaseModel):
    """Some jobs, newest first."""

    jobs: list[Job]
    next: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")


@router.get(
    "",
    summary="List jobs",
    responses=problems.responses("invalid-request", "unavailable"),
)
async def list_jobs(
    parts: Deps,
    caller: Asking,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[
        str | None, Query(pattern=JOB_ID_PATTERN, description="`next` of the page before.")
    ] = None,
    status: JobStatus | None = None,
    model: Annotated[str | None, Query(max_length=64)] = None,
    label: Annotated[
        str | None, Query(max_length=320, pattern="^[^:]+:", description="`name:value`")
    ] = None,
    batch: Annotated[str | None, Query(pattern=JOB_ID_PATTERN)] = None,
    created_from: Moment | None = None,
    created_before: Moment | None = None,
) -> JobPage:
    """Jobs that are remembered, newest first. What is submitted meanwhile moves no page.

    A page can be short, even empty, with a `next`: then few of many jobs were wanted.
    """
    name, _, value = (label or "").partition(":")
    wanted = listing.Filter(
        status=status,
        model=model,
        label=(name, value) if name else None,
        batch=batch,
        created_from=created_from,
        created_before=created_before,
    )
    page = await listing.page(parts.jobs.redis, caller.tenant, wanted, after=cursor, limit=limit)
    return JobPage(jobs=[with_urls(job, parts) for job in page.jobs], next=page.next)


@quick.get(
    "/{job_id}",
    summary="Look at a job",
    response_model=Job,
    responses={
        200: {"headers": ETAG_HEADER},
        304: {"description": "Nothing has changed since `If-None-Match`."},
        **problems.responses("job-not-found", "invalid-request", "too-many-waiters", "unavailable"),
    },
)
async def show(
    job_id: str,
    parts: Deps,
    caller: Asking,
    wait: WaitQuery = None,
    prefer: PreferHeader = None,
    if_none_match: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    """Where a job stands; once it has succeeded, each picture with an address to fetch it from."""
    known = await parts.jobs.get(checked(job_id), tenant=caller.tenant)

    def has_changed(job: Job) -> bool:
        return etag(job) not in if_none_match if if_none_match else job.status is not known.status

    for_s = wait_s(wait, prefer)
    with parts.waiters.place(for_s > 0):
        job = await hold(parts, known, for_s, has_changed)
    return answer(job, parts, known_etag=if_none_match)


@router.post(
    "/{job_id}/cancel",
    summary="Stop a job",
    response_model=Job,
    responses=problems.responses("job-not-found", "unavailable"),
)
async def cancel(job_id: str, parts: Deps, caller: Asking) -> Response:
    """Stop a job, waiting or running, and answer with the state it ended in.

    A job that has finished already stays as it is.
    """
    try:
        job = await parts.jobs.cancel(checked(job_id), tenant=caller.tenant)
    except TransitionError:
        job = await parts.jobs.get(job_id, tenant=caller.tenant)
    return answer(job, parts)


@router.delete(
    "/{job_id}",
    summary="Forget a job",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems.responses("job-not-found", "unavailable"),
)
async def delete(job_id: str, parts: Deps, caller: Asking) -> None:
    """Stop a job if need be, and delete its record and its pictures."""
    job = await parts.jobs.delete(checked(job_id), tenant=caller.tenant)
    await asyncio.to_thread(parts.pictures.delete, picture_keys(job))


def checked(job_id: str) -> str:
    """Keep what cannot be an id away from Redis."""
    if not re.fullmatch(JOB_ID_PATTERN, job_id):
        raise JobNotFoundError(job_id[:64])
    return job_id
