"""How a job is answered: its pictures with addresses, and the headers that make polling cheap."""

import hashlib
import math

from fastapi import Response, status

from api.parts import Parts
from jobs.model import Image, Job
from jobs.storage import picture_key

#: Clients need not ask more often, nor more seldom, than this while a job is unfinished.
SOONEST_POLL_S, LATEST_POLL_S = 1, 30


def with_url(image: Image, job: Job, parts: Parts) -> Image:
    """A picture that can be downloaded, for as long as its address is valid."""
    key = picture_key(job.id, image.index, job.request.output_format)
    return image.model_copy(update={"url": parts.pictures.presign(key)})


def with_urls(job: Job, parts: Parts) -> Job:
    """A job whose pictures can be downloaded."""
    if not job.images:
        return job
    images = tuple(with_url(image, job, parts) for image in job.images)
    return job.model_copy(update={"images": images})


def etag(job: Job) -> str:
    """Names what a client can see of a job; weak, since addresses and estimates vary (RFC 9110)."""
    place = job.queue and (job.queue.position, job.queue.workers)
    seen = f"{job.status} {job.progress.step} {len(job.attempts)} {job.finished_at} {place}"
    return f'W/"{hashlib.sha256(seen.encode()).hexdigest()[:32]}"'


def retry_after_s(job: Job) -> int:
    """When it is worth asking again: when the job should be ready, within reason."""
    eta_s = job.estimate.eta_s if job.estimate else SOONEST_POLL_S
    return min(max(math.ceil(eta_s), SOONEST_POLL_S), LATEST_POLL_S)


def answer(
    job: Job, parts: Parts, *, code: int = status.HTTP_200_OK, known_etag: str | None = None
) -> Response:
    """The response for a job, or 304 when the client knows it already."""
    headers = {"ETag": etag(job), "Cache-Control": "no-cache"}
    if not job.status.finished:
        headers["Retry-After"] = str(retry_after_s(job))
    if code == status.HTTP_202_ACCEPTED:
        headers["Location"] = f"/v1/jobs/{job.id}"
    if known_etag is not None and headers["ETag"] in known_etag:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(
        with_urls(job, parts).model_dump_json(),
        status_code=code,
        headers=headers,
        media_type="application/json",
    )
