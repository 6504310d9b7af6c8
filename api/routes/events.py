"""What happens to a job as Server-Sent Events, from where the reader was cut off."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response, status
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from api import problems
from api.access import Asking
from api.parts import Deps, Parts
from api.presenting import with_url, with_urls
from api.routes.jobs import checked
from api.waiting import HeldStream, follow
from jobs import events
from jobs.estimate import images_per_s
from jobs.events import Event, EventKind
from jobs.model import Image, Job, JobStatus

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

MEDIA_TYPE = "text/event-stream"
#: A comment goes out when nothing else has for so long, since proxies cut silent connections.
KEEP_ALIVE_S = 15.0
#: How often a waiting job's place in line is looked at.
PLACE_EVERY_S = 1.0

EVENTS = """\
What happens to a job, until its end.

| event | data |
| --- | --- |
| `queued` | `position`, `workers` and `eta_s`; whenever the first two change, without an id |
| `running` | `attempt` and `worker` |
| `progress` | `step` and `steps`, summed over the job's images, and `images_per_s` |
| `preview` | a small picture as base64 in `data`, its `content_type`, `index` and `step` |
| `image` | a stored picture, with its address |
| `end` | the whole job; the stream closes |

Send the last `id` as `Last-Event-ID` to go on after a cut without a gap or a repeat, as browsers
do by themselves. After `end` the answer is 204, which tells them to stop.
"""


#: An event, as the parser of a client gives it.
STREAMED = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": list(EventKind)},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["data"],
}


@router.get(
    "/{job_id}/events",
    summary="Watch a job",
    description=EVENTS,
    response_class=StreamingResponse,
    responses={
        200: {"content": {MEDIA_TYPE: {"itemSchema": STREAMED}}, "description": "Events."},
        204: {"description": "The reader has seen the end."},
        **problems.responses("job-not-found", "invalid-request", "too-many-waiters", "unavailable"),
    },
)
async def watch(
    job_id: str,
    parts: Deps,
    caller: Asking,
    last_event_id: Annotated[str | None, Header(pattern="^[0-9]{1,15}(-[0-9]{1,10})?$")] = None,
) -> Response:
    job = await parts.jobs.get(checked(job_id), tenant=caller.tenant)
    after = last_event_id or events.BEGINNING
    if await _has_seen_the_end(parts, job, after):
        return Response(status_code=status.HTTP_204_NO_CONTENT)
    place = ExitStack()
    place.enter_context(parts.waiters.place())
    return HeldStream(_stream(parts, job, after), place)


async def _has_seen_the_end(parts: Parts, job: Job, after: str) -> bool:
    if job.finished_at is None or await events.read(parts.jobs.redis, job.id, after, count=1):
        return False
    return events.unix_ms(after) >= events.unix_ms(events.id_at(job.finished_at))


async def _stream(parts: Parts, job: Job, after: str) -> AsyncIterator[bytes]:
    """Events as they happen, a waiting job's place whenever it changes, and signs of life."""
    spoken_at, place = time.monotonic(), None
    async for standing, news in follow(parts, job, after, _patience_s):
        if (queue := standing.queue) and (queue.position, queue.workers) != place:
            place, spoken_at = (queue.position, queue.workers), time.monotonic()
            yield _event(EventKind.QUEUED, queue.model_dump_json())
        for event in news:
            spoken_at = time.monotonic()
            yield _event(event.kind, _data(event, standing, parts), event.id)
        if time.monotonic() - spoken_at >= KEEP_ALIVE_S:
            spoken_at = time.monotonic()
            yield format_sse_event(comment="still here")


def _patience_s(job: Job) -> float:
    return PLACE_EVERY_S if job.status is JobStatus.QUEUED else KEEP_ALIVE_S


def _data(event: Event, job: Job, parts: Parts) -> str:
    """What the stream does not hold: how far there is to go, and where a picture is now."""
    data: dict[str, Any] = event.data
    match event.kind:
        case EventKind.PROGRESS:
            at = datetime.fromtimestamp(events.unix_ms(event.id) / 1000, UTC)
            speed = images_per_s(job, data["step"], at)
            data = {**data, "steps": job.progress.steps, "images_per_s": speed}
        case EventKind.IMAGE:
            return with_url(Image.model_validate(data), job, parts).model_dump_json()
        case EventKind.END:
            return with_urls(job, parts).model_dump_json()
    return json.dumps(data, separators=(",", ":"))


def _event(kind: EventKind, data: str, event_id: str | None = None) -> bytes:
    return format_sse_event(event=kind, data_str=data, id=event_id)
