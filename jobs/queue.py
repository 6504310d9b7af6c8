"""The line that jobs wait in, through arq: one queue a model, JSON on the wire."""

import json
import time
from dataclasses import dataclass
from typing import Any

from arq.connections import ArqRedis
from arq.jobs import serialize_job

from jobs import keys
from jobs.model import Lane
from jobs.pace import Pace

#: The arq function that workers register.
FUNCTION = "develop"
#: A worker that has not announced itself for this long is not counted.
WORKER_SEEN_S = 15.0


def serialize(message: dict[str, Any]) -> bytes:
    """arq pickles by default; then whoever can write to Redis could run code in a worker."""
    return json.dumps(message, separators=(",", ":")).encode()


def deserialize(message: bytes) -> dict[str, Any]:
    decoded = json.loads(message)
    if not isinstance(decoded, dict):
        raise ValueError("a queue message is a JSON object")
    return decoded


def definition(job_id: str) -> bytes:
    """What arq needs to know to start a job: the record holds the rest."""
    enqueued_ms = time.time_ns() // 1_000_000
    return serialize_job(FUNCTION, (job_id,), {}, None, enqueued_ms, serializer=serialize)


def lane_number(lane: Lane) -> int:
    """How `lua/fair.lua` knows a lane: below zero, and the lower the sooner."""
    return list(Lane).index(lane) - len(Lane)


@dataclass(frozen=True)
class Standing:
    """Where a job stands among the others of its model, and how those are going."""

    #: Jobs that wait before it. Running jobs stand behind, since their score is a time.
    ahead: int
    workers: int
    unfinished: int
    #: Pixels times steps.
    load: int
    pace: Pace


async def standing(redis: ArqRedis, model: str, job_id: str) -> Standing:
    """All that is known of a job's place, in one exchange."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.zrank(keys.queue(model), job_id)
        pipe.zcount(keys.workers(model), time.time() - WORKER_SEEN_S, "+inf")
        pipe.scard(keys.unfinished(model))
        pipe.get(keys.load(model))
        pipe.hgetall(keys.pace(model))
        ahead, workers, unfinished, load, sums = await pipe.execute()
    return Standing(ahead or 0, workers, unfinished, int(load or 0), Pace.from_hash(sums))


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
