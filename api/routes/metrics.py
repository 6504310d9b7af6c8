"""What Prometheus scrapes."""

from fastapi import APIRouter, Response

from api.parts import Deps
from jobs import keys, metrics
from jobs.backlog import Backlog
from jobs.connection import redis_errors
from jobs.errors import StoreUnavailableError

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
async def scrape(parts: Deps) -> Response:
    """This process's own numbers, and those of the queue, which every process tells alike."""
    try:
        with redis_errors():
            owed = await parts.jobs.redis.zcard(keys.WEBHOOKS)
        backlogs = await parts.jobs.backlogs.of(parts.catalog)
    except StoreUnavailableError:
        metrics.REDIS_UP.set(0)
        _forget()
    else:
        metrics.REDIS_UP.set(1)
        metrics.WEBHOOKS_OWED.set(owed)
        for backlog in backlogs:
            _tell(backlog)
    return Response(metrics.exposition(metrics.API), media_type=metrics.MEDIA_TYPE)


def _tell(backlog: Backlog) -> None:
    model = backlog.model
    metrics.WORKERS.labels(model).set(backlog.workers)
    metrics.RUNNING_JOBS.labels(model).set(backlog.running)
    metrics.UNFINISHED_WORK.labels(model).set(backlog.work_s)
    for lane, waiting in backlog.lanes.items():
        metrics.QUEUE_JOBS.labels(model, lane).set(waiting.jobs)
        metrics.QUEUE_AGE.labels(model, lane).set(waiting.oldest_age_s)
        metrics.QUEUE_WORK.labels(model, lane).set(waiting.work_s)


def _forget() -> None:
    """What was true before Redis went away must not look like what is true now."""
    for gauge in (
        metrics.WORKERS,
        metrics.RUNNING_JOBS,
        metrics.UNFINISHED_WORK,
        metrics.QUEUE_JOBS,
        metrics.QUEUE_AGE,
        metrics.QUEUE_WORK,
    ):
        gauge.clear()
