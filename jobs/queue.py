"""The line that jobs wait in, through arq: one queue a model, JSON on the wire."""

import time
from typing import Final

from arq.connections import ArqRedis
from arq.jobs import serialize_job

from jobs import keys, wire
from jobs.model import Lane
from jobs.standing import WORKER_SEEN_S

#: The arq function that workers register.
FUNCTION = "develop"
#: How many places a lane has, as `lua/fair.lua` has it.
LANE_WIDTH: Final = 2**50


def definition(job_id: str) -> bytes:
    """What arq needs to know to start a job: the record holds the rest."""
    enqueued_ms = time.time_ns() // 1_000_000
    return serialize_job(FUNCTION, (job_id,), {}, None, enqueued_ms, serializer=wire.serialize)


def lane_number(lane: Lane) -> int:
    """How `lua/fair.lua` knows a lane: below zero, and the lower the sooner."""
    return list(Lane).index(lane) - len(Lane)


def places(lane: Lane) -> tuple[int, int]:
    """The scores of a lane's waiting jobs: the first one, and where the next lane begins."""
    first = lane_number(lane) * LANE_WIDTH
    return first, first + LANE_WIDTH


async def workers(redis: ArqRedis, models: list[str]) -> dict[str, int]:
    """How many workers serve each model now."""
    async with redis.pipeline(transaction=False) as pipe:
        for model in models:
            pipe.zcount(keys.workers(model), time.time() - WORKER_SEEN_S, "+inf")
        counts = await pipe.execute()
    return dict(zip(models, counts, strict=True))


async def announce(redis: ArqRedis, worker_id: str, models: list[str]) -> None:
    """Tell that a worker is there for these models, and forget those that went silent."""
    async with redis.pipeline(transaction=False) as pipe:
        for model in models:
            pipe.zadd(keys.workers(model), {worker_id: time.time()})
            pipe.zremrangebyscore(keys.workers(model), "-inf", time.time() - 10 * WORKER_SEEN_S)
        await pipe.execute()


async def withdraw(redis: ArqRedis, worker_id: str, models: list[str]) -> None:
    """Tell that a worker is going."""
    async with redis.pipeline(transaction=False) as pipe:
        for model in models:
            pipe.zrem(keys.workers(model), worker_id)
        await pipe.execute()
