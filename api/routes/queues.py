"""How much work waits for each model: for people, and for whatever scales the workers."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api import problems
from api.parts import Deps
from jobs.backlog import Backlog
from jobs.model import Lane

router = APIRouter(prefix="/v1/queues", tags=["queues"])


class LaneQueue(BaseModel):
    """The jobs of one lane that wait."""

    jobs: int
    oldest_age_s: float = Field(
        description="How long the oldest of the jobs that start next has waited."
    )
    work_s: float = Field(description="Seconds that one worker would need for them.")


class Queue(BaseModel):
    """The unfinished jobs of one model."""

    model: str
    workers: int = Field(description="How many workers serve it now.")
    jobs: int = Field(description="Jobs that wait or run.")
    running: int = Field(description="Of these, those that run.")
    work_s: float = Field(
        description="Seconds that one worker would need for all of them, at the pace at which jobs "
        "have been ending. Divided by how long one may wait, it is how many workers are needed."
    )
    lanes: dict[Lane, LaneQueue] = Field(description="The jobs that wait.")


class QueueList(BaseModel):
    """The queue of every model, also of those that nobody serves."""

    queues: list[Queue]


@router.get("", summary="Look at the queues", responses=problems.responses("unavailable"))
async def index(parts: Deps) -> QueueList:
    """How much work waits for each model, in jobs and in seconds."""
    backlogs = await parts.jobs.backlogs.of(parts.catalog)
    return QueueList(queues=[_queue(backlog) for backlog in backlogs])


def _queue(backlog: Backlog) -> Queue:
    return Queue(
        model=backlog.model,
        workers=backlog.workers,
        jobs=backlog.jobs,
        running=backlog.running,
        work_s=round(backlog.work_s, 3),
        lanes={
            lane: LaneQueue(
                jobs=waiting.jobs,
                oldest_age_s=round(waiting.oldest_age_s, 3),
                work_s=round(waiting.work_s, 3),
            )
            for lane, waiting in backlog.lanes.items()
        },
    )
