"""The measured pace of a model's jobs, and the wait that follows from it."""

import asyncio
import json
from importlib.resources import files

import pytest
from arq.connections import ArqRedis
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.connection import connect
from jobs.pace import LONGEST_WAIT_S, UNKNOWN_WAIT_S, Pace
from jobs.settings import Settings

#: Feeds a list of (start, end, work) to the pure function, and answers with the sums.
SIMULATION = (
    (files("jobs") / "lua" / "pace.lua").read_text()
    + """
local sums = {}
for _, job in ipairs(cjson.decode(ARGV[1])) do
    for name, value in pairs(paced(sums, job[1], job[2], job[3], job[3], job[4] or 'one')) do
        sums[name] = value
    end
end
local flat = {}
for name, value in pairs(sums) do
    table.insert(flat, name)
    table.insert(flat, string.format('%.17g', value))
end
return flat
"""
)


async def pace_of(redis: ArqRedis, jobs: list[tuple[int, int, int]]) -> Pace:
    flat = await redis.eval(SIMULATION, 0, json.dumps(jobs))  # type: ignore[misc]
    return Pace.from_hash(dict(zip(flat[::2], flat[1::2], strict=True)))


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


async def test_the_pace_follows_a_change_within_three_minutes(redis: ArqRedis) -> None:
    slow = [(10_000 * n, 10_000 * (n + 1), 500) for n in range(1, 100)]
    begin = slow[-1][1]
    quick = [(begin + 100 * n, begin + 100 * (n + 1), 500) for n in range(1_800)]
    assert (await pace_of(redis, slow + quick)).seconds_for(50_000) == pytest.approx(10, rel=0.25)


async def test_long_jobs_are_remembered_for_as_many_as_twenty(redis: ArqRedis) -> None:
    """A job of five minutes must not be all that is known."""
    turns = [(300_000 * n, 300_000 * n + (100_000 if n % 2 else 300_000), 500) for n in range(60)]
    assert (await pace_of(redis, turns)).seconds_for(500) == pytest.approx(200, rel=0.1)


def test_an_unknown_pace_and_an_endless_wait_are_bounded() -> None:
    assert Pace().retry_after_s(1) == UNKNOWN_WAIT_S
    assert Pace(work=1, busy_ms=1, jobs=1).retry_after_s(10**12) == LONGEST_WAIT_S
    assert Pace(work=10**9, busy_ms=1, jobs=1).retry_after_s(1) == 1


@given(
    base_ms=st.integers(0, 10_000),
    ms_per_length=st.integers(1, 50),
    lengths=st.lists(st.integers(1, 1_000), min_size=20, max_size=60),
    asked=st.integers(1, 1_000),
)
@hypothesis_settings(max_examples=50, deadline=None)
def test_a_job_s_run_follows_its_length_on_a_line(
    settings: Settings, base_ms: int, ms_per_length: int, lengths: list[int], asked: int
) -> None:
    """A fixed part for coding and storing, and a part for each step."""
    jobs, now_ms = [], 1_000_000
    for length in lengths:
        ran_ms = base_ms + ms_per_length * length
        jobs.append((now_ms, now_ms + ran_ms, length))
        now_ms += ran_ms

    async def learnt() -> Pace:
        redis = connect(settings)
        pace = await pace_of(redis, jobs)
        await redis.aclose()
        return pace

    pace = asyncio.run(learnt())
    if len(set(lengths)) > 1 and max(lengths) > 1.5 * min(lengths):
        expected_ms = base_ms + ms_per_length * asked
        assert pace.run_seconds(asked) * 1000 == pytest.approx(expected_ms, rel=0.02, abs=5)
    else:
        assert min(jobs)[0] <= now_ms
        assert pace.run_seconds(lengths[0]) > 0
