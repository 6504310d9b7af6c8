"""`POST /v1/images/generations`: a job that is waited for."""

import asyncio
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter, Request, Response

from api.access import Asking
from api.admission import admit
from api.compat.attending import AttendedStream, no_pictures, pictures_in_base64, see_through
from api.compat.dialect import OF_PICTURES, job_request, refusing_by
from api.compat.openai.errors import refusal, responses
from api.compat.openai.model import (
    GeneratedImage,
    GenerationRequest,
    ImagesResponse,
)
from api.compat.openai.streaming import EVENTS, described, stream
from api.parts import Deps, Parts
from api.presenting import with_urls
from jobs.model import Job, JobRequest, JobStatus

#: An event of a stream, as the parser of a client gives it.
STREAMED = {
    "type": "object",
    "properties": {
        "event": {"enum": [*(kind.model_fields["type"].default for kind in EVENTS), "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["data"],
}

router = APIRouter(prefix="/v1/images", tags=["openai"], route_class=refusing_by(refusal))


@router.post(
    "/generations",
    summary="Make pictures as OpenAI's API does",
    response_model=ImagesResponse,
    responses={
        200: {"content": {"text/event-stream": {"itemSchema": STREAMED}}},
        **responses(*OF_PICTURES),
    },
)
async def generate(
    asked: GenerationRequest, request: Request, parts: Deps, caller: Asking
) -> Response:
    """Put a job in line and hold the answer until its pictures are there.

    The job of a client that leaves is cancelled. With `stream`, the answer is server-sent events.
    """
    wanted = to_job_request(asked, parts.settings.openai_model_aliases)
    with ExitStack() as place:
        place.enter_context(parts.waiters.place())
        job = await parts.jobs.submit(admit(wanted, parts.catalog, parts.blocklists), caller=caller)
        if asked.stream:
            events = stream(parts, job, asked, request)
            return AttendedStream(parts, job, events, place.pop_all())
        job = await see_through(parts, job, request)
    if job.status is not JobStatus.SUCCEEDED:
        raise no_pictures(job)
    pictures = ImagesResponse(
        created=int(job.created_at.timestamp()),
        data=await _pictures(parts, job, asked),
        **described(job, asked),
    )
    content = await asyncio.to_thread(pictures.model_dump_json, exclude_none=True)
    return Response(content, media_type="application/json")


def to_job_request(asked: GenerationRequest, aliases: dict[str, str]) -> JobRequest:
    """
    Raises:
        RequestValidationError: a field breaks a limit that holds for every model, or is unknown.
    """
    fields: dict[str, Any] = {**(asked.model_extra or {}), "prompt": asked.prompt}
    if asked.model:
        fields["model"] = aliases.get(asked.model, asked.model)
    if asked.n is not None:
        fields["images"] = asked.n
    if asked.size not in (None, "auto"):
        fields["width"], fields["height"] = map(int, asked.size.split("x"))
    if asked.output_format:
        fields["output_format"] = asked.output_format
    if asked.output_compression is not None:
        fields["output_quality"] = max(asked.output_compression, 1)
    return job_request(fields)


async def _pictures(parts: Parts, job: Job, asked: GenerationRequest) -> list[GeneratedImage]:
    if asked.response_format == "url":
        return [GeneratedImage(url=image.url) for image in with_urls(job, parts).images]
    return [GeneratedImage(b64_json=text) for text in await pictures_in_base64(parts, job)]
