"""How fast a model's jobs are done, as the workers' own finishing of jobs shows it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Self

#: What is said as long as no job of a model has ever ended.
UNKNOWN_WAIT_S = 60
#: Nobody is sent away for longer: by then more may have changed than a rate can tell.
LONGEST_WAIT_S = 3_600


#: What a job's length is, on average, and how long it runs in ms.
Run = tuple[float, float]


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
    #: Each job's work, counted for each ms that it ran.
    work_ran_ms: float = 0
    #: The means of jobs of about one length, by length.
    runs: tuple[Run, ...] = ()

    @classmethod
    def from_hash(cls, stored: Mapping[bytes, bytes]) -> Self:
        known = {field.name for field in fields(cls)}
        sums = {name.decode(): float(value) for name, value in stored.items()}
        # The version before did not tell workers apart: as far as anybody knows there was one.
        sums.setdefault("worker_ms", sums.get("busy_ms", 0))
        return cls(
            **{name: value for name, value in sums.items() if name in known},
            runs=tuple(sorted(_runs(sums))),
        )

    @property
    def is_known(self) -> bool:
        return self.jobs > 0

    def seconds_for(self, work: float) -> float:
        """In how many seconds the workers together do that much work; inf when unknown."""
        return work * self.busy_ms / self.work / 1000 if self.work else math.inf

    def worker_seconds_for(self, work: float) -> float:
        """How many seconds one worker needs for that much work; inf when unknown."""
        return work * self.worker_ms / self.work / 1000 if self.work else math.inf

    @property
    def mean_work(self) -> float:
        """Of a job, as they come; 0 when unknown."""
        return self.work / self.jobs if self.jobs else 0.0

    @property
    def mean_running_work(self) -> float:
        """Of a job under way, where larger ones stay for longer; 0 when unknown."""
        return self.work_ran_ms / self.ran_ms if self.ran_ms else self.mean_work

    def run_seconds(self, length: float) -> float:
        """How long a job of that length runs; inf when unknown.

        On a line between the two known lengths beside it. Beyond all of them the line goes on, but
        neither falls nor rises faster than in proportion: jobs of one length alone give no slope.
        """
        if not self.is_known:
            return math.inf
        if len(self.runs) < 2:
            return self.ran_ms / self.jobs / 1000
        spans = list(pairwise(self.runs))
        (left, left_ms), (right, right_ms) = next(
            (span for span in spans if length <= span[1][0]), spans[-1]
        )
        slope = (right_ms - left_ms) / (right - left)
        if length < left:
            return (left_ms - min(max(slope, 0), left_ms / left) * (left - length)) / 1000
        if length > right:
            return (right_ms + min(max(slope, 0), right_ms / right) * (length - right)) / 1000
        return (left_ms + slope * (length - left)) / 1000

    def retry_after_s(self, work: float) -> int:
        """When to come back for room that so much work must be done for: whole, and bounded."""
        if not self.is_known:
            return UNKNOWN_WAIT_S
        return min(max(1, math.ceil(self.seconds_for(work))), LONGEST_WAIT_S)


def _runs(sums: Mapping[str, float]) -> Iterator[Run]:
    for name, jobs in sums.items():
        kind, _, size = name.partition(" ")
        if kind == "jobs" and size:
            yield sums[f"length {size}"] / jobs, sums[f"ran_ms {size}"] / jobs
