"""How each model's jobs are going: looked at now and then, however many clients ask."""

import asyncio
import time
from dataclasses import dataclass

from jobs import keys
from jobs.exchange import Exchange
from jobs.pace import Pace

#: A worker that has not announced itself for this long is not counted.
WORKER_SEEN_S = 15.0
#: How old an answer may be. Places in line are always looked up anew.
FRESH_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A model's workers and its unfinished jobs."""

    workers: int
    running: int
    #: Those that run, and those that wait.
    unfinished: int
    #: Of all unfinished jobs, in pixels times steps.
    load: int
    pace: Pace

    @property
    def mean_waiting_work(self) -> float:
        """Of a job that waits, in pixels times steps; 0 when nothing is unfinished.

        Larger jobs run for longer, so there are more of them under way than in line.
        """
        if not self.unfinished:
            return 0.0
        excess = self.running * (self.pace.mean_running_work - self.pace.mean_work)
        return max(self.load - excess, 0.0) / self.unfinished


class Standings:
    """The standing of every model."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._seen: dict[str, tuple[float, Standing]] = {}

    async def of(self, model: str) -> Standing:
        """As it was lately. Raises as `Exchange`."""
        now = time.monotonic()
        seen_at, standing = self._seen.get(model, (0.0, None))
        if standing is None or now - seen_at > FRESH_S:
            standing = await self.look(model)
            self._seen[model] = (now, standing)
        return standing

    async def look(self, model: str) -> Standing:
        """As it is now. Raises as `Exchange`."""
        now_s = time.time()
        workers, running, unfinished, load, sums = await asyncio.gather(
            self._exchange("ZCOUNT", keys.workers(model), now_s - WORKER_SEEN_S, "+inf"),
            # Whoever runs has its lease's end for a score.
            self._exchange("ZCOUNT", keys.queue(model), round(now_s * 1000), "+inf"),
            self._exchange("SCARD", keys.unfinished(model)),
            self._exchange("GET", keys.load(model)),
            self._exchange("HGETALL", keys.pace(model)),
        )
        return Standing(
            workers=workers,
            running=running,
            unfinished=unfinished,
            load=int(load or 0),
            pace=Pace.from_hash(sums),
        )
