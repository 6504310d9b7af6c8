"""What a growing past and a growing queue cost: submit, look and claim from 1 k to 100 k jobs.

`python -m bench.backlog` starts a Redis as the local stack does, prints a table and writes
`bench/backlog.json`. Finished and waiting jobs are copies of one real job's keys.
"""

import asyncio
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from arq.connections import ArqRedis
from pydantic import SecretStr

from jobs import keys
from jobs.access.model import DEFAULT_TENANT
from jobs.connection import connect
from jobs.model import AdmittedRequest, Image, OutputFormat
from jobs.record import new_job_id
from jobs.settings import Settings
from jobs.store import JobStore
from local.ports import free_port
from local.stack import Stack

SIZES = (1_000, 10_000, 100_000)
TRIES = 300
MODEL, WORKER = "shapes-sd", "bench:1:000000"
RESULT = Path(__file__).with_suffix(".json")
REQUEST = AdmittedRequest(
    prompt="a red circle on a blue background",
    negative_prompt="",
    model=MODEL,
    width=64,
    height=64,
    steps=20,
    guidance_scale=2.0,
    scheduler=None,
    images=1,
    seed=7,
    output_format=OutputFormat.PNG,
)
IMAGE = Image(
    index=0, seed=7, width=64, height=64, content_type="image/png", size_bytes=4000, sha256="0" * 64
)


async def measure() -> dict[str, Any]:
    """Grow first the past, then the queue, and time the same few calls at each size."""
    rows = []
    async with fresh_redis() as (redis, settings):
        store = JobStore(redis, settings)
        finished, before, waiting = await finish_one(store), 0, 0
        for size in SIZES:
            used = await used_bytes(redis)
            await copy_finished(redis, finished, size - before)
            per_job = (await used_bytes(redis) - used) / (size - before)
            before = size
            rows.append({"finished": size, "waiting": 0, **await timed(store, redis)})
            rows[-1]["bytes_per_finished_job"] = round(per_job)
        for size in SIZES:
            await copy_waiting(store, redis, size - waiting)
            waiting = size
            rows.append({"finished": SIZES[-1], "waiting": size, **await timed(store, redis)})
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "rows": rows,
    }


async def timed(store: JobStore, redis: ArqRedis) -> dict[str, float]:
    """The median of submit, look, and claim with success, in ms; leaves the queue as it was."""
    made: list[str] = []

    async def submit() -> None:
        made.append((await store.submit(REQUEST)).id)

    async def look() -> None:
        await store.get(made[-1])

    async def serve() -> None:
        claimed = await store.claim(made.pop(), MODEL, WORKER)
        assert claimed is not None
        await store.succeed(claimed[1], [IMAGE])

    async def ping() -> None:
        await redis.ping()

    return {f"{call.__name__}_ms": await median_ms(call) for call in (ping, submit, look, serve)}


async def median_ms(call: Callable[[], Awaitable[None]]) -> float:
    taken = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - begun) * 1000)
    return round(statistics.median(taken), 3)


async def finish_one(store: JobStore) -> str:
    job = await store.submit(REQUEST)
    claimed = await store.claim(job.id, MODEL, WORKER)
    assert claimed is not None
    await store.succeed(claimed[1], [IMAGE])
    return job.id


async def copy_finished(redis: ArqRedis, job_id: str, count: int) -> None:
    for some in chunks(count):
        async with redis.pipeline(transaction=False) as pipe:
            for _ in range(some):
                copied = new_job_id()
                pipe.copy(keys.job(job_id), keys.job(copied))
                pipe.zadd(keys.index(DEFAULT_TENANT), {copied: 0})
            await pipe.execute()


async def copy_waiting(store: JobStore, redis: ArqRedis, count: int) -> None:
    job = await store.submit(REQUEST)
    (place,) = await redis.zmscore(keys.queue(MODEL), [job.id])
    for some in chunks(count - 1):
        async with redis.pipeline(transaction=False) as pipe:
            for _ in range(some):
                copied = new_job_id()
                pipe.copy(keys.job(job.id), keys.job(copied))
                pipe.copy(keys.definition(job.id), keys.definition(copied))
                pipe.sadd(keys.unfinished(MODEL), copied)
                pipe.zadd(keys.queue(MODEL), {copied: place})
            await pipe.execute()


def chunks(count: int) -> list[int]:
    """Sizes of pipelines that a socket takes at once."""
    return [min(1_000, count - begun) for begun in range(0, count, 1_000)]


async def used_bytes(redis: ArqRedis) -> int:
    return int((await redis.info("memory"))["used_memory"])


@asynccontextmanager
async def fresh_redis() -> AsyncIterator[tuple[ArqRedis, Settings]]:
    """An empty Redis with the local stack's configuration."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Settings(port=free_port()), Path(folder), (MODEL,))
        part, _ = stack.stores()
        server = await asyncio.create_subprocess_exec(*part.command, stdout=subprocess.DEVNULL)
        address = stack.environment()["DARKROOM_REDIS_URL"]
        settings = Settings(redis_url=SecretStr(address), queue_max_jobs=10**6)
        redis = connect(settings)
        while not await part.is_ready():  # noqa: ASYNC110 (nothing tells us but asking)
            await asyncio.sleep(0.05)
        try:
            yield redis, settings
        finally:
            await redis.aclose()
            server.kill()
            await server.wait()
            stack.close()


def main() -> None:
    """Measure, print and write."""
    result = asyncio.run(measure())
    for row in result["rows"]:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
