"""What the caller waits for: how far it is, and stopping it."""

import asyncio

from fastapi import APIRouter

from api.compat.attending import abandon
from api.compat.automatic1111.errors import TranslatedRoute, responses
from api.compat.automatic1111.model import ProgressResponse, ProgressState
from api.compat.automatic1111.session import CallerSession
from api.parts import Deps
from jobs import events
from jobs.events import EventKind
from jobs.model import Job, JobStatus

router = APIRouter(route_class=TranslatedRoute)


@router.get(
    "/progress",
    summary="How far the caller's foremost picture is",
    responses=responses("invalid-request", "unavailable"),
)
async def progress(
    parts: Deps, session: CallerSession, skip_current_image: bool = False
) -> ProgressResponse:
    """Of several requests of one caller, that which runs or is next."""
    tasks = await session.tasks()
    if not tasks:
        return ProgressResponse()
    task, job = tasks[0]
    preview = None
    if job.status is JobStatus.RUNNING and not skip_current_image:
        preview = await events.latest(parts.jobs.redis, job.id, EventKind.PREVIEW)
    return ProgressResponse(
        progress=job.progress.step / job.progress.steps,
        eta_relative=job.estimate.eta_s if job.estimate else 0.0,
        state=_state(job, len(tasks)),
        current_image=preview.data["data"] if preview else None,
        textinfo=_place(job),
        current_task=task,
    )


@router.post(
    "/interrupt",
    summary="Stop all that the caller waits for",
    responses=responses("unavailable"),
)
async def interrupt(parts: Deps, session: CallerSession) -> dict[str, str]:
    """Each of these requests is answered at once, without pictures."""
    await asyncio.gather(*(abandon(parts, job) for _, job in await session.tasks()))
    return {}


@router.post(
    "/skip", summary="Stop the caller's foremost request", responses=responses("unavailable")
)
async def skip(parts: Deps, session: CallerSession) -> None:
    """It is answered at once, without pictures; the caller's other requests go on."""
    for _, job in (await session.tasks())[:1]:
        await abandon(parts, job)


def _state(job: Job, count: int) -> ProgressState:
    return ProgressState(
        job="txt2img",
        job_count=count,
        job_timestamp=f"{job.created_at:%Y%m%d%H%M%S}",
        sampling_step=job.progress.step // job.request.images,
        sampling_steps=job.request.steps,
    )


def _place(job: Job) -> str | None:
    return f"Waiting: {job.queue.position} jobs start first" if job.queue else None
