"""Submit a job, look at it, stop it."""

import hashlib
import re
from typing import Annotated

from fastapi import APIRouter, Header, Response, status

from api import problems
from api.admission import admit
from api.parts import Deps, Parts
from jobs.errors import JobNotFoundError, TransitionError
from jobs.model import JOB_ID_PATTERN, Job, JobRequest
from jobs.storage import picture_key

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Submit a job",
    responses={
        202: {"headers": {"Location": {"description": "Poll here.", "schema": {"type": "string"}}}},
        **problems.responses(
            "malformed-json", "body-too-large", "invalid-request", "queue-full", "unavailable"
        ),
    },
)
async def submit(
    request: JobRequest,
    parts: Deps,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="Submitting again with the same key and body answers with the same job.",
        ),
    ] = None,
) -> Job:
    """Put a text-to-image job in line. It is never lost once this has answered 202."""
    job = await parts.jobs.submit(
        admit(request, parts.catalog),
        idempotency_key=idempotency_key or "",
        fingerprint=hashlib.sha256(request.model_dump_json().encode()).hexdigest(),
    )
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@router.get(
    "/{job_id}",
    summary="Look at a job",
    responses=problems.responses("job-not-found", "unavailable"),
)
async def show(job_id: str, parts: Deps) -> Job:
    """Where a job stands; once it has succeeded, each picture with an address to fetch it from."""
    return _with_urls(await parts.jobs.get(_checked(job_id)), parts)


@router.post(
    "/{job_id}/cancel",
    summary="Stop a job",
    responses=problems.responses("job-not-found", "unavailable"),
)
async def cancel(job_id: str, parts: Deps) -> Job:
    """Stop a job, waiting or running, and answer with the state it ended in.

    A job that has finished already stays as it is.
    """
    try:
        return await parts.jobs.cancel(_checked(job_id))
    except TransitionError:
        return _with_urls(await parts.jobs.get(job_id), parts)


def _checked(job_id: str) -> str:
    """Keep what cannot be an id away from Redis."""
    if not re.fullmatch(JOB_ID_PATTERN, job_id):
        raise JobNotFoundError(job_id[:64])
    return job_id


def _with_urls(job: Job, parts: Parts) -> Job:
    output_format = job.request.output_format
    images = tuple(
        image.model_copy(
            update={"url": parts.pictures.presign(picture_key(job.id, image.index, output_format))}
        )
        for image in job.images
    )
    return job.model_copy(update={"images": images})
