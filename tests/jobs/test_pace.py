"""The measured pace of a model's jobs, and the wait that follows from it."""

import json
from importlib.resources import files

import pytest
from arq.connections import ArqRedis

from jobs.pace import LONGEST_WAIT_S, UNKNOWN_WAIT_S, Pace

#: Feeds a list of (start, end, work) to the pure function, and answers with the pace.
SIMULATION = (
    (files("jobs") / "lua" / "pace.lua").read_text()
    + """
local work, busy_ms, last_end_ms = 0, 0, 0
for _, job in ipairs(cjson.decode(ARGV[1])) do
    work, busy_ms = paced(work, busy_ms, last_end_ms, job[1], job[2], job[3])
    last_end_ms = job[2]
end
return {tostring(work), tostring(busy_ms)}
"""
)


async def pace_of(redis: ArqRedis, jobs: list[tuple[int, int, int]]) -> Pace:
    answer = await redis.eval(SIMULATION, 0, json.dumps(jobs))  # type: ignore[misc]
    return Pace.from_fields(*answer)


async def test_jobs_one_after_another_give_their_own_speed(redis: ArqRedis) -> None:
    jobs = [(1_000 * n, 1_000 * (n + 1), 500) for n in range(1, 50)]
    assert (await pace_of(redis, jobs)).seconds_for(5_000) == pytest.approx(10, abs=1)


async def test_jobs_beside_each_other_count_together(redis: ArqRedis) -> None:
    """Four at a time, each 4 s long: one ends every second."""
    jobs = [(1_000 * n, 1_000 * n + 4_000, 500) for n in range(1, 50)]
    assert (await pace_of(redis, jobs)).seconds_for(5_000) == pytest.approx(10, abs=1)


async def test_an_idle_night_does_not_slow_the_pace(redis: ArqRedis) -> None:
    night_ms = 8 * 3_600_000
    evening = [(1_000 * n, 1_000 * (n + 1), 500) for n in range(1, 50)]
    morning = [(start + night_ms, end + night_ms, work) for start, end, work in evening]
    assert (await pace_of(redis, evening + morning)).seconds_for(5_000) == pytest.approx(10, abs=1)


async def test_the_pace_follows_a_change_within_minutes(redis: ArqRedis) -> None:
    slow = [(10_000 * n, 10_000 * (n + 1), 500) for n in range(1, 100)]
    begin = slow[-1][1]
    quick = [(begin + 100 * n, begin + 100 * (n + 1), 500) for n in range(6_000)]
    assert (await pace_of(redis, slow + quick)).seconds_for(50_000) == pytest.approx(10, rel=0.9)


def test_an_unknown_pace_and_an_endless_wait_are_bounded() -> None:
    assert Pace(work=0, busy_ms=0).seconds_for(1) == UNKNOWN_WAIT_S
    assert Pace(work=1, busy_ms=1).seconds_for(10**12) == LONGEST_WAIT_S
    assert Pace(work=10**9, busy_ms=1).seconds_for(1) == 1
