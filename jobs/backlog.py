"""How much work a model's jobs are: what people look at, and what workers are scaled by."""

import asyncio
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jobs import keys
from jobs.exchange import Exchange
from jobs.model import Lane
from jobs.pace import UNKNOWN_WAIT_S
from jobs.queue import places
from jobs.record import made_at_ms
from jobs.standing import Standing, Standings

#: The oldest job is looked for among so many that start next: tenants take turns, so the first in
#: line need not be the oldest.
NEXT = 100


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """The jobs of one lane that wait."""

    jobs: int
    #: How long the oldest of those that start next has waited.
    oldest_age_s: float
    #: Judged by the mean of the model's waiting jobs.
    work_s: float


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """A model's unfinished jobs. Seconds of work are those that one worker would need."""

    model: str
    workers: int
    running: int
    lanes: Mapping[Lane, Waiting]
    #: Of all unfinished jobs; those that run count whole.
    work_s: float

    @property
    def jobs(self) -> int:
        return self.running + sum(lane.jobs for lane in self.lanes.values())


def measure(
    model: str,
    standing: Standing,
    *,
    waiting: Mapping[Lane, tuple[int, float]],
) -> Backlog:
    """Jobs in seconds. As long as none of a model has ended, each counts as `UNKNOWN_WAIT_S`.

    Args:
        waiting: how many jobs wait, and how long the oldest has.
    """

    def seconds(jobs: int, work: float) -> float:
        known_s = standing.pace.worker_seconds_for(work)
        return known_s if math.isfinite(known_s) else jobs * float(UNKNOWN_WAIT_S)

    return Backlog(
        model=model,
        workers=standing.workers,
        running=standing.running,
        lanes={
            lane: Waiting(
                jobs=jobs,
                oldest_age_s=age_s,
                work_s=seconds(jobs, jobs * standing.mean_waiting_work),
            )
            for lane, (jobs, age_s) in waiting.items()
        },
        work_s=seconds(standing.unfinished, standing.load),
    )


class Backlogs:
    """The backlog of any model, for a few commands, however long its queue is."""

    def __init__(self, exchange: Exchange, standings: Standings) -> None:
        self._exchange, self._standings = exchange, standings

    async def of(self, models: Iterable[str]) -> list[Backlog]:
        """As they are now. Raises as `Exchange`."""
        return list(await asyncio.gather(*map(self._look, models)))

    async def _look(self, model: str) -> Backlog:
        now_s = time.time()
        standing, lanes = await asyncio.gather(
            self._standings.look(model),
            asyncio.gather(*(self._waiting(model, lane, now_s) for lane in Lane)),
        )
        waiting = dict(zip(Lane, lanes, strict=True))
        return measure(model, standing, waiting=waiting)

    async def _waiting(self, model: str, lane: Lane, now_s: float) -> tuple[int, float]:
        first, end = places(lane)
        within = (keys.queue(model), first, f"({end}")
        count, ids = await asyncio.gather(
            self._exchange("ZCOUNT", *within),
            self._exchange("ZRANGEBYSCORE", *within, "LIMIT", 0, NEXT),
        )
        oldest_s = min((made_at_ms(job_id.decode()) / 1000 for job_id in ids), default=now_s)
        return count, max(now_s - oldest_s, 0.0)
