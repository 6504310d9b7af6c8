"""The line that jobs wait in, through arq: one queue a model, JSON on the wire."""

import time

from arq.connections import ArqRedis
from arq.jobs import serialize_job

from jobs import keys, wire
from jobs.model import Lane
from jobs.standing import WORKER_SEEN_S

#: The arq function that workers register.
FUNCTION = "develop"


def definition(job_id: str) -> bytes:
    """What arq needs to know to start a job: the record holds the rest."""
    enqueued_ms = time.time_ns() // 1_000_000
    return serialize_job(FUNCTION, (job_id,), {}, None, enqueued_ms, serializer=wire.serialize)


def lane_number(lane: Lane) -> int:
    """How `lua/fair.lua` knows a lane: below zero, and the lower the sooner."""
    return list(Lane).index(lane) - len(Lane)


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
