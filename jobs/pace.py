"""How fast a model's jobs are done, as the workers' own finishing of jobs shows it."""

import math
from dataclasses import dataclass
from typing import Self

#: What is said as long as no job of a model has ever ended.
UNKNOWN_WAIT_S = 60
#: Nobody is sent away for longer: by then more may have changed than a rate can tell.
LONGEST_WAIT_S = 3_600


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The work done lately, older work counting less, and the busy time it took."""

    #: Pixels times denoising steps.
    work: float
    busy_ms: float

    @classmethod
    def from_fields(cls, work: bytes | None, busy_ms: bytes | None) -> Self:
        return cls(work=float(work or 0), busy_ms=float(busy_ms or 0))

    def seconds_for(self, work: float) -> int:
        """In how many seconds, at this pace, that much work will be done: whole, and bounded."""
        if not self.work:
            return UNKNOWN_WAIT_S
        return min(max(1, math.ceil(work * self.busy_ms / self.work / 1000)), LONGEST_WAIT_S)
