"""Keeping a lease: renewed while the work goes on, given up only when Redis says so."""

import asyncio

import pytest

from jobs.errors import LeaseLostError, StoreUnavailableError
from jobs.lease import Lease, keep

LEASE = Lease(job_id="0" * 32, model="shapes-sd")


class Recorder:
    """Notes each report; fails as told, in order, and then succeeds."""

    def __init__(self, *failures: Exception | None) -> None:
        self.steps: list[int] = []
        self._failures = list(failures)

    async def report(self, lease: Lease, step: int) -> None:
        self.steps.append(step)
        failure = self._failures.pop(0) if self._failures else None
        if failure:
            raise failure


async def kept_until(recorder: Recorder, reports: int, lease_s: float = 0.09) -> None:
    step = iter(range(1_000))
    keeping = asyncio.create_task(
        keep(LEASE, recorder, lambda: next(step), lease_s=lease_s, progress_interval_s=0.02)
    )
    async with asyncio.timeout(5):
        while len(recorder.steps) < reports and not keeping.done():
            await asyncio.sleep(0.005)
    if keeping.done():
        await keeping
    keeping.cancel()


async def test_every_new_step_is_reported() -> None:
    recorder = Recorder()
    await kept_until(recorder, 4)
    assert recorder.steps[:4] == [0, 1, 2, 3]


async def test_a_lease_is_renewed_even_when_nothing_moves() -> None:
    recorder = Recorder()
    keeping = asyncio.create_task(
        keep(LEASE, recorder, lambda: 5, lease_s=0.09, progress_interval_s=0.02)
    )
    async with asyncio.timeout(5):
        while len(recorder.steps) < 3:
            await asyncio.sleep(0.005)
    keeping.cancel()
    assert recorder.steps[:3] == [5, 5, 5]


async def test_a_redis_that_is_away_does_not_end_the_work() -> None:
    away = StoreUnavailableError("away")
    recorder = Recorder(away, away)
    await kept_until(recorder, 4)
    assert len(recorder.steps) >= 4


async def test_a_lost_lease_ends_the_work() -> None:
    recorder = Recorder(None, LeaseLostError(LEASE.job_id))
    with pytest.raises(LeaseLostError):
        await kept_until(recorder, 10)
