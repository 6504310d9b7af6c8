"""How much of its limits a key has used: counted in Redis, so for all API processes together.

What is spread over time is counted by `limits`: two counters a policy, whose weighted sum stands
for a sliding window; what is unfinished is counted by the scripts that change jobs.
"""

import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from arq.connections import ArqRedis
from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from jobs import keys
from jobs.access.model import Caller
from jobs.connection import redis_errors
from jobs.errors import (
    JobError,
    QuotaExceededError,
    RequestOverLimitError,
    StoreUnavailableError,
)
from jobs.exchange import Exchange
from jobs.model import AdmittedRequest

#: The policy that is no rate: how many jobs may be unfinished at once.
UNFINISHED: Final = "unfinished-jobs"


@dataclass(frozen=True, kw_only=True)
class Rate:
    """So much in so long a time."""

    name: str
    #: The field of `Limits`.
    field: str
    per: type[RateLimitItem]
    #: What requests that are submitted together count for.
    cost: Callable[[Sequence[AdmittedRequest]], int]

    def limit(self, caller: Caller) -> RateLimitItem | None:
        amount = getattr(caller.limits, self.field)
        return None if amount is None else self.per(amount)


RATES: Final = (
    Rate(name="jobs-per-minute", field="jobs_per_minute", per=RateLimitItemPerMinute, cost=len),
    Rate(
        name="images-per-day",
        field="images_per_day",
        per=RateLimitItemPerDay,
        cost=lambda requests: sum(request.images for request in requests),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What is left of a limit."""

    policy: str
    quota: int
    left: int
    #: None for what is not spread over time.
    window_s: int | None = None
    #: When more of it will be there, at the earliest.
    more_in_s: int | None = None


def wait_s(window: tuple[int, float, int, float], limit: int, cost: int, window_s: int) -> float:
    """In how many seconds a sliding window has room for a cost that is no higher than its limit.

    Args:
        window: as `limits` tells it: the previous window's count and the seconds until it does not
            matter any more, the present one's count and the seconds until it becomes the previous.
    """
    previous, previous_s, present, present_s = window
    room = limit - present - cost
    if previous and room >= 0:
        return max(0.0, previous_s - (room + 1) * window_s / previous)
    if room >= 0:
        return 0.0
    return present_s % window_s + max(0.0, window_s - (limit - cost + 1) * window_s / present)


@dataclass
class Charge:
    """Whether a caller owes what it was charged."""

    is_due: bool = True


class Quotas:
    """Charges callers, and tells what is left to them. Every method raises as `Exchange`."""

    def __init__(self, redis: ArqRedis, exchange: Exchange) -> None:
        self._exchange = exchange
        # The address only names the protocol: the connections are those that are there already.
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=keys.QUOTAS,
            connection_pool=redis.connection_pool,  # type: ignore[arg-type]
        )
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    @asynccontextmanager
    async def charging(
        self, caller: Caller, requests: Sequence[AdmittedRequest]
    ) -> AsyncIterator[Charge]:
        """Charge a caller for what a block takes in. Raises as `_charge` before the block begins.

        When the block ends in a refusal, or finds that nothing is due, it was for nothing. When
        Redis went away inside it, nobody knows, and the charge stands.
        """
        await self._charge(caller, requests)
        charge = Charge()
        try:
            yield charge
        except JobError as error:
            charge.is_due = isinstance(error, StoreUnavailableError)
            raise
        finally:
            if not charge.is_due:
                await self._refund(caller, requests)

    async def _charge(self, caller: Caller, requests: Sequence[AdmittedRequest]) -> None:
        """Count requests against every rate of the caller's, or against none.

        Raises:
            QuotaExceededError: there is not enough left for all of them now.
            RequestOverLimitError: there never will be.
        """
        charged: list[tuple[Rate, RateLimitItem, int]] = []
        for rate in RATES:
            if not (limit := rate.limit(caller)):
                continue
            cost = rate.cost(requests)
            with redis_errors():
                is_charged = await self._limiter.hit(limit, caller.id, cost=cost)
            if not is_charged:
                for _, earlier, paid in charged:
                    await self._give_back(earlier, caller, paid)
                raise await self._refusal(rate, limit, caller, cost)
            charged.append((rate, limit, cost))

    async def _refund(self, caller: Caller, requests: Sequence[AdmittedRequest]) -> None:
        """Undo a charge: the requests were not taken in after all."""
        for rate in RATES:
            if limit := rate.limit(caller):
                await self._give_back(limit, caller, rate.cost(requests))

    async def _give_back(self, limit: RateLimitItem, caller: Caller, cost: int) -> None:
        # The library has no word for it, and its script adds what it is given.
        with redis_errors():
            await self._limiter.hit(limit, caller.id, cost=-cost)

    async def _refusal(
        self, rate: Rate, limit: RateLimitItem, caller: Caller, cost: int
    ) -> QuotaExceededError | RequestOverLimitError:
        if cost > limit.amount:
            return RequestOverLimitError(rate.name, limit.amount, cost)
        with redis_errors():
            window = await self._storage.get_sliding_window(
                limit.key_for(caller.id), limit.get_expiry()
            )
        retry_s = wait_s(window, limit.amount, cost, limit.get_expiry())
        return QuotaExceededError(rate.name, limit.amount, max(1, math.ceil(retry_s)))

    async def allowances(self, caller: Caller) -> list[Allowance]:
        """What is left to a caller, of each limit that it has."""
        told = []
        for rate in RATES:
            if limit := rate.limit(caller):
                with redis_errors():
                    stats = await self._limiter.get_window_stats(limit, caller.id)
                told.append(
                    Allowance(
                        policy=rate.name,
                        quota=limit.amount,
                        left=stats.remaining,
                        window_s=limit.get_expiry(),
                        more_in_s=max(0, math.ceil(stats.reset_time - time.time())),
                    )
                )
        if caller.limits.unfinished_jobs is not None:
            quota = caller.limits.unfinished_jobs
            left = max(0, quota - await self._unfinished(caller))
            told.append(Allowance(policy=UNFINISHED, quota=quota, left=left))
        return told

    async def _unfinished(self, caller: Caller) -> int:
        return int(await self._exchange("HGET", keys.UNFINISHED_OF_KEYS, caller.id) or 0)
