"""A job's news as the events of OpenAI's image stream: previews, then the pictures."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.sse import format_sse_event

from api.compat.attending import news_of, no_pictures, pictures_in_base64
from api.compat.openai.errors import body_of
from api.compat.openai.model import CompletedImage, GenerationRequest, PartialImage
from api.parts import Parts
from api.problems import problem_of
from jobs.events import Event, EventKind
from jobs.model import Job, JobStatus, OutputFormat

#: A comment goes out when nothing else has for so long, since proxies cut silent connections.
KEEP_ALIVE_S = 15.0
#: What a stream tells, beside an error.
EVENTS = (PartialImage, CompletedImage)


async def stream(
    parts: Parts, job: Job, asked: GenerationRequest, request: Request
) -> AsyncIterator[bytes]:
    """Server-sent events until the pictures, or an error, which is the last event then."""
    try:
        async for message in _messages(parts, job, asked):
            yield message
    except Exception as error:
        body = body_of(problem_of(request, error))
        yield format_sse_event(event="error", data_str=body.model_dump_json())


async def _messages(parts: Parts, job: Job, asked: GenerationRequest) -> AsyncIterator[bytes]:
    spoken_at, shown = time.monotonic(), Counter[int]()
    async for standing, news in news_of(parts, job):
        for event in news:
            if event.kind is EventKind.PREVIEW and _is_due(event, standing, asked, shown):
                spoken_at = time.monotonic()
                yield _partial(event, standing, asked, shown[event.data["index"]])
                shown[event.data["index"]] += 1
            elif event.kind is EventKind.END:
                if standing.status is not JobStatus.SUCCEEDED:
                    raise no_pictures(standing)
                for picture in await pictures_in_base64(parts, standing):
                    yield _completed(picture, standing, asked)
        if time.monotonic() - spoken_at >= KEEP_ALIVE_S:
            spoken_at = time.monotonic()
            yield format_sse_event(comment="still here")


def _is_due(event: Event, job: Job, asked: GenerationRequest, shown: Counter[int]) -> bool:
    """Previews are spread evenly over a picture's steps."""
    most, so_far = asked.partial_images or 0, shown[event.data["index"]]
    is_late_enough = event.data["step"] * (most + 1) >= job.request.steps * (so_far + 1)
    return so_far < most and is_late_enough


def _partial(event: Event, job: Job, asked: GenerationRequest, number: int) -> bytes:
    told = PartialImage(
        b64_json=event.data["data"],
        created_at=int(time.time()),
        partial_image_index=number,
        **{**described(job, asked), "output_format": OutputFormat.WEBP},
    )
    return format_sse_event(event=told.type, data_str=told.model_dump_json())


def _completed(picture: str, job: Job, asked: GenerationRequest) -> bytes:
    told = CompletedImage(b64_json=picture, created_at=int(time.time()), **described(job, asked))
    return format_sse_event(event=told.type, data_str=told.model_dump_json())


def described(job: Job, asked: GenerationRequest) -> dict[str, Any]:
    """What every answer tells of the pictures."""
    return {
        "output_format": job.request.output_format,
        "quality": asked.quality or "auto",
        "size": f"{job.request.width}x{job.request.height}",
    }
