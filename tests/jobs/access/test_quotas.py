"""When a sliding window has room again, and what concurrency does to it."""

import asyncio
import math

from arq.connections import ArqRedis
from hypothesis import assume, given
from hypothesis import strategies as st

from jobs.access.model import Caller, Limits
from jobs.access.quotas import Quotas, wait_s
from jobs.errors import JobError, QuotaExceededError, StoreUnavailableError
from jobs.exchange import Exchange
from jobs.model import AdmittedRequest

WINDOW_S = 60
counts, parts = st.integers(0, 50), st.floats(0, 1)


def used(window: tuple[int, float, int, float], after_s: float) -> int:
    """What a window counts for after a while, as `limits` weighs it (its scripts, version 5.8)."""
    previous, previous_s, present, present_s = window
    until_shift = present_s % WINDOW_S
    if after_s >= until_shift and present:
        remaining = max(0.0, WINDOW_S - (after_s - until_shift))
        return math.floor(present * remaining / WINDOW_S)
    return math.floor(previous * max(0.0, previous_s - after_s) / WINDOW_S) + present


@given(previous=counts, present=counts, limit=st.integers(1, 50), cost=st.integers(1, 50), at=parts)
def test_after_the_wait_there_is_room_and_a_second_before_there_was_none(
    previous: int, present: int, limit: int, cost: int, at: float
) -> None:
    assume(cost <= limit)
    left_s = 1 + at * (WINDOW_S - 2)
    window = (previous, left_s if previous else 0.0, present, WINDOW_S + left_s if present else 0.0)
    assume(used(window, 0) <= limit)
    wait = wait_s(window, limit, cost, WINDOW_S)
    assert used(window, wait + 1e-6) + cost <= limit
    if wait > 1:
        assert used(window, wait - 1) + cost > limit


async def test_many_at_once_get_exactly_what_there_is(
    redis: ArqRedis, request_: AdmittedRequest
) -> None:
    caller = Caller(id="ann", limits=Limits(jobs_per_minute=10, images_per_day=7))
    exchange = Exchange(redis)
    processes = [Quotas(redis, exchange) for _ in range(4)]

    async def taken(quotas: Quotas) -> bool:
        try:
            async with quotas.charging(caller, [request_]):
                return True
        except QuotaExceededError:
            return False

    outcomes = await asyncio.gather(*(taken(quotas) for quotas in processes * 10))
    assert sum(outcomes) == 7
    left = {each.policy: each.left for each in await processes[0].allowances(caller)}
    assert left == {"jobs-per-minute": 3, "images-per-day": 0}, "the refused cost nothing"


async def test_only_what_certainly_was_not_taken_in_is_given_back(
    redis: ArqRedis, request_: AdmittedRequest
) -> None:
    quotas = Quotas(redis, Exchange(redis))
    caller = Caller(id="ann", limits=Limits(jobs_per_minute=10))
    for error, left in ((JobError(), 10), (StoreUnavailableError(), 9), (RuntimeError(), 8)):
        try:
            async with quotas.charging(caller, [request_]):
                raise error
        except type(error):
            pass
        assert [each.left for each in await quotas.allowances(caller)] == [left]


async def test_limits_of_two_keys_do_not_meet(redis: ArqRedis, request_: AdmittedRequest) -> None:
    quotas = Quotas(redis, Exchange(redis))
    callers = [Caller(id=id_, limits=Limits(jobs_per_minute=1)) for id_ in ("ann", "bob")]
    for caller in callers:
        async with quotas.charging(caller, [request_]):
            pass
    left = [each.left for caller in callers for each in await quotas.allowances(caller)]
    assert left == [0, 0]
