"""A job for a client that waits for its pictures on the very request.

It can get them in no other way, so the job is cancelled when the client leaves.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

from fastapi import Request
from starlette.types import Receive, Scope, Send

from api.parts import Parts
from api.problems import Problem
from api.waiting import HeldStream, follow, hold
from jobs import events
from jobs.errors import JobNotFoundError, StoreUnavailableError, TransitionError
from jobs.events import Event
from jobs.model import Job, JobStatus
from jobs.storage import picture_keys

#: How long one look at a job is held before the next, in case nothing is heard of it.
LOOK_EVERY_S = 30.0
#: Clients of OpenAI's make try again after any error of ours unless they are told not to.
DO_NOT_RETRY = {"X-Should-Retry": "false"}


async def see_through(parts: Parts, job: Job, request: Request) -> Job:
    """A job at its end.

    Raises:
        JobNotFoundError: somebody has deleted it.
        Problem: `timed-out` when it has not ended within the setting `compat_wait_s`.
    """
    leaving = asyncio.create_task(_left(request))
    ending = asyncio.create_task(_ended(parts, job))
    try:
        await asyncio.wait(
            (leaving, ending),
            timeout=parts.settings.compat_wait_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if ending.done():
            return ending.result()
        raise timed_out(parts, job)
    finally:
        leaving.cancel()
        if not ending.done():
            # The time is up, the client has left, or this process is told to end.
            ending.cancel()
            await abandon(parts, job)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _ended(parts: Parts, job: Job) -> Job:
    while not job.status.finished:
        # Redis may come and go; the client stays.
        with suppress(StoreUnavailableError):
            job = await hold(parts, job, LOOK_EVERY_S, lambda _: False)
    return job


async def abandon(parts: Parts, job: Job) -> None:
    """Cancel a job that nobody waits for any more, unless it has ended already."""
    with suppress(JobNotFoundError, TransitionError, StoreUnavailableError):
        await parts.jobs.cancel(job.id)


async def news_of(parts: Parts, job: Job) -> AsyncIterator[tuple[Job, list[Event]]]:
    """A job and its news until its end, as `follow` gives them.

    Raises: as `see_through`.
    """
    standing, until = job, time.monotonic() + parts.settings.compat_wait_s
    async for standing, news in follow(parts, job, events.BEGINNING, lambda _: LOOK_EVERY_S / 2):
        yield standing, news
        if time.monotonic() > until and not standing.status.finished:
            raise timed_out(parts, job)
    if not standing.status.finished:
        raise JobNotFoundError(job.id)


class AttendedStream(HeldStream):
    """A stream about a job, which is cancelled when the stream ends before it does."""

    def __init__(
        self, parts: Parts, job: Job, content: AsyncIterator[bytes], place: ExitStack
    ) -> None:
        super().__init__(content, place)
        self._parts, self._job = parts, job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await abandon(self._parts, self._job)


async def pictures_in_base64(parts: Parts, job: Job) -> list[str]:
    """The files of a job that has succeeded, in order.

    Raises:
        StoreUnavailableError: one cannot be read.
    """

    def fetched(key: str) -> str:
        return base64.b64encode(parts.pictures.get(key)).decode()

    reading = (asyncio.to_thread(fetched, key) for key in picture_keys(job))
    return list(await asyncio.gather(*reading))


def no_pictures(job: Job) -> Problem:
    """Why a finished job has none."""
    if job.status is JobStatus.CANCELED:
        return Problem("job-canceled", f"job {job.id} was canceled", headers=DO_NOT_RETRY)
    detail = job.error.detail if job.error else "nothing is known of why"
    return Problem("job-failed", f"job {job.id} has failed: {detail}", headers=DO_NOT_RETRY)


def timed_out(parts: Parts, job: Job) -> Problem:
    """The refusal of whoever has waited for too long."""
    detail = f"job {job.id} has not ended within {parts.settings.compat_wait_s:g} seconds"
    return Problem("timed-out", f"{detail}, and was cancelled", headers=DO_NOT_RETRY)
