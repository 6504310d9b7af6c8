"""Holding an answer until a job has changed, without asking Redis again and again."""

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from typing import Annotated

from fastapi import Header, Query
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.observing import held
from api.parts import Parts
from jobs import events, keys, metrics
from jobs.errors import JobNotFoundError, StoreUnavailableError
from jobs.events import Event, EventKind
from jobs.model import Job
from jobs.signals import Ring

#: The longest that one request is held; what lies between would often cut longer ones.
LONGEST_WAIT_S = 60.0

WaitQuery = Annotated[
    float | None,
    Query(
        ge=0,
        le=LONGEST_WAIT_S,
        allow_inf_nan=False,
        description="Hold the answer for so many seconds at most, until the job's status changes; "
        "with `If-None-Match`, until anything does. `Prefer: wait=30` does the same (RFC 7240).",
    ),
]
PreferHeader = Annotated[str | None, Header(max_length=255, include_in_schema=False)]


def wait_s(asked: float | None, prefer: str | None) -> float:
    """How long the client wants to wait; what it prefers but cannot have is cut."""
    if asked is not None:
        return asked
    preferred = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})", prefer or "")
    return min(float(preferred[1]), LONGEST_WAIT_S) if preferred else 0.0


@asynccontextmanager
async def watching(
    parts: Parts, job_id: str, measured: AbstractContextManager[None]
) -> AsyncIterator[Ring]:
    """Rings whenever something happens to a job.

    Args:
        measured: counts those who watch.
    """
    with measured:
        async with parts.signals.on(keys.changes(job_id)) as ring:
            yield ring


async def hold(parts: Parts, job: Job, for_s: float, is_due: Callable[[Job], bool]) -> Job:
    """The job as soon as it is due, or as it is when the time is up. Raises as `JobStore.get`."""
    if not for_s or is_due(job) or job.status.finished:
        return job
    until = time.monotonic() + for_s
    async with watching(parts, job.id, held()) as ring:
        while (left_s := until - time.monotonic()) > 0:
            await ring.wait(left_s)
            job = await parts.jobs.get(job.id)
            if is_due(job) or job.status.finished:
                break
    return job


class HeldStream(StreamingResponse):
    """Server-sent events to one who has a place among the waiters, given back at the end."""

    def __init__(self, content: AsyncIterator[bytes], place: ExitStack) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(content, media_type="text/event-stream", headers=headers)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)


async def follow(
    parts: Parts, job: Job, after: str, patience_s: Callable[[Job], float]
) -> AsyncIterator[tuple[Job, list[Event]]]:
    """A job and its news, whenever there are any, and without any when patience is at its end.

    The last event is its end, unless it is deleted meanwhile. Who reads slowly is read for more
    slowly. What happens while Redis is away is read when it is back.

    Args:
        after: the id of the last event that is known already.
        patience_s: how long to wait for news of a job as it stands.
    """
    async with watching(parts, job.id, metrics.HTTP_STREAMS.track_inprogress()) as ring:
        while True:
            await ring.wait(patience_s(job))
            was_finished = job.status.finished
            try:
                news = await events.read(parts.jobs.redis, job.id, after)
                job = await parts.jobs.get(job.id)
            except StoreUnavailableError:
                continue
            except JobNotFoundError:
                return
            if was_finished and not news and job.finished_at:
                # Its events have been forgotten; its record has not.
                news = [Event(events.id_at(job.finished_at), EventKind.END, {})]
            yield job, news
            if news:
                after = news[-1].id
                if news[-1].kind is EventKind.END:
                    return
            if news or job.status.finished:
                ring.ring()
