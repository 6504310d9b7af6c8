"""The worker process: one engine, and one arq worker for each model's queue."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable
from typing import Any

from arq.connections import ArqRedis
from arq.worker import Worker, func

from jobs import keys, logs, queue
from jobs.connection import connect, redis_errors
from jobs.errors import StoreUnavailableError
from jobs.settings import Settings, settings
from jobs.storage import PictureStore
from jobs.store import JobStore
from pipelines.catalog import Catalog
from pipelines.engine import Engine
from pipelines.errors import PipelineError
from pipelines.loading import default_device
from worker.develop import Developer

log = logging.getLogger("darkroom.worker")

ANNOUNCE_EVERY_S = queue.WORKER_SEEN_S / 3
#: arq must never be the one to end a job: our own deadline comes first and says why.
ARQ_GRACE_S = 300.0
#: arq's count of tries is not fenced; ours is, in the record.
ARQ_NO_LIMIT = 1_000_000


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    chosen = settings()
    logs.configure(chosen.log_level)
    try:
        asyncio.run(run(chosen))
    except PipelineError as error:
        sys.exit(f"darkroom-server: {error}")


async def run(chosen: Settings) -> None:
    """Load the models, then take jobs until told to stop."""
    catalog = Catalog.load(chosen.catalog).only(chosen.models)
    models = list(catalog)
    redis = connect(chosen)
    worker_id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    stopping = _stop_signal()
    with Engine(default_device(), max_batch_rows=chosen.max_batch_rows) as engine:
        await _warm(engine, catalog)
        developer = Developer(
            settings=chosen,
            catalog=catalog,
            engine=engine,
            jobs=JobStore(redis, chosen),
            pictures=PictureStore(chosen),
        )
        workers = [arq_worker(chosen, redis, developer, model) for model in models]
        background = [asyncio.create_task(_poll(worker)) for worker in workers] + [
            asyncio.create_task(_announce(redis, worker_id, models))
        ]
        log.info("ready on %s for %s", engine.device, ", ".join(models))
        await stopping.wait()
        await _drain(workers, chosen.drain_s)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await _quietly(queue.withdraw(redis, worker_id, models))
    await redis.aclose()


async def _warm(engine: Engine, catalog: Catalog) -> None:
    """Load every model before the first job comes, and find out now if one cannot be loaded.

    Raises:
        ModelLoadError: it names the entry and the mend.
    """
    for spec in catalog.values():
        await asyncio.wrap_future(engine.models.acquire(spec))
        engine.models.release(spec)


def arq_worker(chosen: Settings, redis: ArqRedis, developer: Developer, model: str) -> Worker:
    """An arq worker on one model's queue, whose every job goes to the developer."""

    async def develop(ctx: dict[Any, Any], job_id: str) -> None:
        await developer.develop(job_id, model)

    worker = Worker(
        functions=[func(develop, name=queue.FUNCTION)],
        queue_name=keys.queue(model),
        redis_pool=redis,
        handle_signals=False,
        max_jobs=chosen.worker_jobs,
        job_timeout=chosen.job_timeout_s + ARQ_GRACE_S,
        keep_result=0,
        max_tries=ARQ_NO_LIMIT,
        poll_delay=chosen.poll_delay_s,
        job_serializer=queue.serialize,
        job_deserializer=queue.deserialize,
        log_results=False,
    )
    # A kill before the first renewal must not wait out the longest job.
    worker.in_progress_timeout_s = chosen.lease_s
    return worker


def _stop_signal() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def _poll(worker: Worker) -> None:
    """Take jobs for ever. arq gives up when Redis does; the jobs under way go on meanwhile."""
    while True:
        try:
            with redis_errors():
                await worker.async_run()
        except StoreUnavailableError as error:
            log.warning("%s; trying again", error)
        await asyncio.sleep(1)


async def _announce(redis: ArqRedis, worker_id: str, models: list[str]) -> None:
    while True:
        await _quietly(queue.announce(redis, worker_id, models))
        await asyncio.sleep(ANNOUNCE_EVERY_S)


async def _quietly(action: Awaitable[None]) -> None:
    """What only informs others may fail while Redis is away."""
    try:
        with redis_errors():
            await action
    except StoreUnavailableError as error:
        log.debug("%s", error)


async def _drain(workers: list[Worker], drain_s: float) -> None:
    """Take nothing new, let what runs go on for a while, then hand the rest back."""
    for worker in workers:
        worker.allow_pick_jobs = False
    running = [task for worker in workers for task in worker.tasks.values() if not task.done()]
    if not running:
        return
    log.info("stopping: up to %.0f s for %d running jobs", drain_s, len(running))
    _, unfinished = await asyncio.wait(running, timeout=drain_s)
    for task in unfinished:
        task.cancel()
    await asyncio.gather(*unfinished, return_exceptions=True)
