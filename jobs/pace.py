"""How fast a model's jobs are done, as the workers' own finishing of jobs shows it."""

import math
from dataclasses import dataclass, fields
from typing import Self

#: What is said as long as no job of a model has ever ended.
UNKNOWN_WAIT_S = 60
#: Nobody is sent away for longer: by then more may have changed than a rate can tell.
LONGEST_WAIT_S = 3_600


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Sums over finished jobs, the older ones counting less (`lua/pace.lua`).

    Work is pixels times steps; a job's length is the work of one of its images.
    """

    work: float = 0
    #: The time in which that work was done, by all workers together.
    busy_ms: float = 0
    #: The same time, but counted once for each worker that did some of it.
    worker_ms: float = 0
    jobs: float = 0
    #: From each job's start to its end.
    ran_ms: float = 0
    length: float = 0
    length_squared: float = 0
    length_ran_ms: float = 0

    @classmethod
    def from_hash(cls, stored: dict[bytes, bytes]) -> Self:
        known = {field.name for field in fields(cls)}
        sums = {name.decode(): float(value) for name, value in stored.items()}
        # The version before did not tell workers apart: as far as anybody knows there was one.
        sums.setdefault("worker_ms", sums.get("busy_ms", 0))
        return cls(**{name: value for name, value in sums.items() if name in known})

    @property
    def is_known(self) -> bool:
        return self.jobs > 0

    def seconds_for(self, work: float) -> float:
        """In how many seconds the workers together do that much work; inf when unknown."""
        return work * self.busy_ms / self.work / 1000 if self.work else math.inf

    def worker_seconds_for(self, work: float) -> float:
        """How many seconds one worker needs for that much work; inf when unknown."""
        return work * self.worker_ms / self.work / 1000 if self.work else math.inf

    def run_seconds(self, length: float) -> float:
        """How long a job of that length runs, by a line through those that ended; inf when unknown.

        The line neither falls nor begins below zero: jobs of one length alone give no slope.
        """
        if not self.is_known:
            return math.inf
        spread = self.jobs * self.length_squared - self.length**2
        together = self.jobs * self.length_ran_ms - self.length * self.ran_ms
        mean_ms, mean_length = self.ran_ms / self.jobs, self.length / self.jobs
        is_telling = spread > 1e-6 * self.length**2
        steepest = mean_ms / mean_length
        slope = min(max(together / spread, 0), steepest) if is_telling else 0
        return (mean_ms + slope * (length - mean_length)) / 1000

    def retry_after_s(self, work: float) -> int:
        """When to come back for room that so much work must be done for: whole, and bounded."""
        if not self.is_known:
            return UNKNOWN_WAIT_S
        return min(max(1, math.ceil(self.seconds_for(work))), LONGEST_WAIT_S)
