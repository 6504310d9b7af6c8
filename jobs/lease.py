"""Who runs a job now: a short lease, renewed, so a dead holder's job comes back in seconds."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from jobs.errors import StoreUnavailableError
from jobs.tasks import is_told_to_end


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to change a job, until it lapses or somebody else claims the job."""

    job_id: str
    model: str
    #: Fences every write: a holder that was only slow can no longer change the job.
    token: str = field(default_factory=lambda: secrets.token_hex(8))


class Reporter(Protocol):
    """Whatever renews a lease; the job store does."""

    async def report(self, lease: Lease, step: int) -> bool: ...


async def keep(
    lease: Lease,
    reporter: Reporter,
    step: Callable[[], int],
    *,
    lease_s: float,
    progress_interval_s: float,
    on_report: Callable[[bool], None] = lambda is_watched: None,
) -> None:
    """Renew a lease for ever, and report the step whenever it has changed.

    Args:
        on_report: told after each report whether anybody watches the job.

    While Redis is away the holder works on: only Redis can say that the lease is lost.

    Raises:
        LeaseLostError: the job was cancelled or has another holder.
    """
    loop = asyncio.get_running_loop()
    reported, renewed_at = -1, 0.0
    while not is_told_to_end():
        now, current = loop.time(), step()
        if current != reported or now - renewed_at >= lease_s / 3:
            try:
                on_report(await reporter.report(lease, current))
                reported, renewed_at = current, now
            except StoreUnavailableError:
                pass
        await asyncio.sleep(min(max(progress_interval_s, 0.02), lease_s / 3))
