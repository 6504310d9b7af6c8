"""Submit a job, look at it, stop it."""

import asyncio
import hashlib
import re
from typing import Annotated

from fastapi import APIRouter, Header, Response, status

from api import problems
from api.admission import admit
from api.parts import Deps
from api.presenting import answer, etag
from api.waiting import PreferHeader, WaitQuery, hold, wait_s
from jobs.errors import JobNotFoundError, TransitionError
from jobs.model import JOB_ID_PATTERN, Job, JobRequest
from jobs.storage import picture_keys

ETAG_HEADER = {"ETag": {"description": "Send it as `If-None-Match`.", "schema": {"type": "string"}}}

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Submit a job",
    response_model=Job,
    responses={
        200: {"model": Job, "description": "It has ended within the wait asked for."},
        202: {"headers": {"Location": {"description": "Poll here.", "schema": {"type": "string"}}}},
        **problems.responses(
            "malformed-json", "body-too-large", "invalid-request", "queue-full", "unavailable"
        ),
    },
)
async def submit(
    request: JobRequest,
    parts: Deps,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="Submitting again with the same key and body answers with the same job.",
        ),
    ] = None,
    wait: WaitQuery = None,
    prefer: PreferHeader = None,
) -> Response:
    """Put a text-to-image job in line. It is never lost once this has answered."""
    job = await parts.jobs.submit(
        admit(request, parts.catalog),
        idempotency_key=idempotency_key or "",
        fingerprint=hashlib.sha256(request.model_dump_json().encode()).hexdigest(),
    )
    if for_s := wait_s(wait, prefer):
        job = await hold(parts, job, for_s, lambda job: job.status.finished)
    has_ended = bool(for_s) and job.status.finished
    return answer(job, parts, code=status.HTTP_200_OK if has_ended else status.HTTP_202_ACCEPTED)


@router.get(
    "/{job_id}",
    summary="Look at a job",
    response_model=Job,
    responses={
        200: {"headers": ETAG_HEADER},
        304: {"description": "Nothing has changed since `If-None-Match`."},
        **problems.responses("job-not-found", "unavailable"),
    },
)
async def show(
    job_id: str,
    parts: Deps,
    wait: WaitQuery = None,
    prefer: PreferHeader = None,
    if_none_match: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    """Where a job stands; once it has succeeded, each picture with an address to fetch it from."""
    known = await parts.jobs.get(checked(job_id))

    def has_changed(job: Job) -> bool:
        return etag(job) not in if_none_match if if_none_match else job.status is not known.status

    job = await hold(parts, known, wait_s(wait, prefer), has_changed)
    return answer(job, parts, known_etag=if_none_match)


@router.post(
    "/{job_id}/cancel",
    summary="Stop a job",
    response_model=Job,
    responses=problems.responses("job-not-found", "unavailable"),
)
async def cancel(job_id: str, parts: Deps) -> Response:
    """Stop a job, waiting or running, and answer with the state it ended in.

    A job that has finished already stays as it is.
    """
    try:
        job = await parts.jobs.cancel(checked(job_id))
    except TransitionError:
        job = await parts.jobs.get(job_id)
    return answer(job, parts)


@router.delete(
    "/{job_id}",
    summary="Forget a job",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problems.responses("job-not-found", "unavailable"),
)
async def delete(job_id: str, parts: Deps) -> None:
    """Stop a job if need be, and delete its record and its pictures."""
    job = await parts.jobs.delete(checked(job_id))
    await asyncio.to_thread(parts.pictures.delete, picture_keys(job))


def checked(job_id: str) -> str:
    """Keep what cannot be an id away from Redis."""
    if not re.fullmatch(JOB_ID_PATTERN, job_id):
        raise JobNotFoundError(job_id[:64])
    return job_id
