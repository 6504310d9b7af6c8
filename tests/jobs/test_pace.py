"""The measured pace of a model's jobs, and the wait that follows from it."""

import asyncio
import json
from collections.abc import Sequence
from importlib.resources import files

import pytest
from arq.connections import ArqRedis
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.connection import connect
from jobs.pace import LONGEST_WAIT_S, UNKNOWN_WAIT_S, Pace
from jobs.settings import Settings
from jobs.standing import Standing

#: Feeds a list of (start, end, work) to the pure function, and answers with the sums.
SIMULATION = (
    (files("jobs") / "lua" / "pace.lua").read_text()
    + """
local sums = {}
for _, job in ipairs(cjson.decode(ARGV[1])) do
    sums = paced(sums, job[1], job[2], job[3], job[3], job[4] or 'one')
end
local flat = {}
for name, value in pairs(sums) do
    table.insert(flat, name)
    table.insert(flat, string.format('%.17g', value))
end
return flat
"""
)


#: Start, end, work, and perhaps the worker.
Finished = tuple[int, int, int] | tuple[int, int, int, str]


async def pace_of(redis: ArqRedis, jobs: Sequence[Finished]) -> Pace:
    return Pace.from_hash(await sums_of(redis, jobs))


async def sums_of(redis: ArqRedis, jobs: Sequence[Finished]) -> dict[bytes, bytes]:
    flat = await redis.eval(SIMULATION, 0, json.dumps(jobs))  # type: ignore[misc]
    return dict(zip(flat[::2], flat[1::2], strict=True))


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


async def test_what_the_workers_prefer_is_learnt_for_each_length(redis: ArqRedis) -> None:
    """An engine that favours the short lets the long run for longer than in proportion."""
    ran_ms, now_ms, jobs = {10: 1_400, 20: 2_800, 30: 7_800, 40: 14_000}, 0, list[Finished]()
    for length in (10, 20, 30, 40) * 20:
        jobs.append((now_ms, now_ms + ran_ms[length], length))
        now_ms += ran_ms[length]
    pace = await pace_of(redis, jobs)
    told = {length: pace.run_seconds(length) * 1000 for length in ran_ms}
    assert told == pytest.approx(ran_ms)
    assert pace.run_seconds(35) == pytest.approx(10.9)
    # Beyond those seen: with the slope beside it, and never faster than in proportion.
    assert pace.run_seconds(5) == pytest.approx(0.7)
    assert pace.run_seconds(80) == pytest.approx(28)


async def test_a_length_and_a_worker_not_seen_for_long_are_forgotten(redis: ArqRedis) -> None:
    once: list[Finished] = [(0, 1_000, 10_000, "gone")]
    since: list[Finished] = [(10_000 * n, 10_000 * n + 9_000, 10, "here") for n in range(1, 400)]
    sums = await sums_of(redis, once + since)
    assert len(Pace.from_hash(sums).runs) == 1
    assert not [name for name in sums if name.endswith(b" gone")]


async def test_those_under_way_are_larger_than_those_that_come(redis: ArqRedis) -> None:
    """Small and large ones in turn, the large ten times as long: most that run are large."""
    jobs: list[Finished] = [
        (1_000 * n, 1_000 * n + (10_000 if n % 2 else 1_000), 1_000 if n % 2 else 100)
        for n in range(400)
    ]
    pace = await pace_of(redis, jobs)
    assert pace.mean_work == pytest.approx(550, rel=0.05)
    assert pace.mean_running_work == pytest.approx(918, rel=0.05)
    load = 11 * 918 + 20 * 550
    standing = Standing(workers=1, running=11, unfinished=31, load=load, pace=pace)
    assert standing.mean_waiting_work == pytest.approx(550, rel=0.05)
