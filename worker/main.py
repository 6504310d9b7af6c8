"""The worker process: one engine, and a taker for each model's queue."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

from arq.connections import ArqRedis

from jobs import checks, logs, queue
from jobs.bell import Bell
from jobs.connection import connect, redis_errors
from jobs.errors import StoreUnavailableError
from jobs.model import MAX_IMAGES
from jobs.settings import Settings, settings
from jobs.storage import PictureStore
from jobs.store import JobStore
from jobs.tasks import is_told_to_end
from pipelines.catalog import Catalog
from pipelines.engine import Engine
from pipelines.errors import PipelineError
from pipelines.loading import default_device
from worker.develop import Developer
from worker.taker import Taker

log = logging.getLogger("darkroom.worker")

ANNOUNCE_EVERY_S = queue.WORKER_SEEN_S / 3


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
    stopping = _stop_signal()
    redis = connect(chosen)
    pictures = PictureStore(chosen)
    for warning in await checks.warnings(redis, pictures):
        log.warning("%s", warning)
    with engine_for(chosen, len(catalog)) as engine:
        await _warm(engine, catalog)
        developer = Developer(
            settings=chosen,
            catalog=catalog,
            engine=engine,
            jobs=JobStore(redis, chosen),
            pictures=pictures,
        )
        await _work(chosen, redis, developer, stopping)
    await redis.aclose()


def engine_for(chosen: Settings, models: int) -> Engine:
    """An engine with room for every image of every job that the takers may hold."""
    return Engine(
        default_device(),
        max_batch_rows=chosen.max_batch_rows,
        max_images=models * chosen.worker_jobs * MAX_IMAGES,
        models_limit_bytes=chosen.models_limit_bytes,
        reproducible=chosen.reproducible,
    )


async def _work(
    chosen: Settings, redis: ArqRedis, developer: Developer, stopping: asyncio.Event
) -> None:
    """Take jobs until told to stop, then let go of them in order."""
    models = list(developer.catalog)
    worker_id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    bell = Bell(redis, models)
    takers = [Taker(chosen, redis, bell, model, developer.develop) for model in models]
    background = [
        asyncio.create_task(work)
        for work in (
            bell.listen(),
            *(taker.take() for taker in takers),
            _again_and_again(ANNOUNCE_EVERY_S, lambda: queue.announce(redis, worker_id, models)),
            _again_and_again(chosen.lease_s, lambda: _sweep(developer.jobs, models)),
        )
    ]
    log.info("ready on %s for %s", developer.engine.device, ", ".join(models))
    await stopping.wait()
    await asyncio.gather(*(taker.drain(chosen.drain_s) for taker in takers))
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await _quietly(queue.withdraw(redis, worker_id, models))


async def _warm(engine: Engine, catalog: Catalog) -> None:
    """Load every model before the first job comes, and find out now if one cannot be loaded.

    Raises:
        ModelLoadError: it names the entry and the mend.
    """
    for spec in catalog.values():
        await asyncio.wrap_future(engine.models.acquire(spec))
        engine.models.release(spec)


def _stop_signal() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def _sweep(store: JobStore, models: list[str]) -> None:
    for model in models:
        if put_back := await store.sweep(model):
            log.warning("put %d jobs of %s back in line that the queue had lost", put_back, model)


async def _again_and_again(interval_s: float, action: Callable[[], Awaitable[None]]) -> None:
    while not is_told_to_end():
        await _quietly(action())
        await asyncio.sleep(interval_s)


async def _quietly(action: Awaitable[None]) -> None:
    """What the takers do not depend on may fail while Redis is away; they say so themselves."""
    try:
        with redis_errors():
            await action
    except StoreUnavailableError as error:
        log.debug("%s", error)
