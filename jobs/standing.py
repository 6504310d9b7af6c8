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


@dataclass(frozen=True)
class Standing:
    """A model's workers and its unfinished jobs."""

    workers: int
    unfinished: int
    #: Pixels times steps.
    load: int
    pace: Pace


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
        since = time.time() - WORKER_SEEN_S
        workers, unfinished, load, sums = await asyncio.gather(
            self._exchange("ZCOUNT", keys.workers(model), since, "+inf"),
            self._exchange("SCARD", keys.unfinished(model)),
            self._exchange("GET", keys.load(model)),
            self._exchange("HGETALL", keys.pace(model)),
        )
        return Standing(workers, unfinished, int(load or 0), Pace.from_hash(sums))
