"""The worker process: one engine, and a taker for each model's queue."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager

from arq.connections import ArqRedis

from jobs import checks, logs, metrics, queue, retention, tracing
from jobs.analytics import sending
from jobs.connection import connect, redis_errors
from jobs.errors import StoreUnavailableError
from jobs.model import MAX_IMAGES
from jobs.settings import Settings, settings
from jobs.signals import Signals
from jobs.standing import WORKER_SEEN_S
from jobs.storage import PictureStore
from jobs.store import JobStore
from jobs.tasks import is_told_to_end
from pipelines.catalog import Catalog
from pipelines.engine import Engine
from pipelines.errors import PipelineError
from pipelines.loading import default_device
from worker.develop import Developer, Outcome
from worker.monitor import BEAT_EVERY_S, Monitor, serving
from worker.observing import Measured, take_stock
from worker.outbox import Outbox
from worker.taker import Taker

log = logging.getLogger("darkroom.worker")

ANNOUNCE_EVERY_S = WORKER_SEEN_S / 3
WATCH_DEVICE_EVERY_S = 10.0
SWEEP_OUTBOX_EVERY_S = 60.0
SWEEP_PICTURES_EVERY_S = 3_600.0
#: A lapsed lease is noticed within this share of its length.
NOTICE_LAPSE = 0.25


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    chosen = settings()
    logs.configure(chosen.log_level, chosen.log_format)
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
    outbox = Outbox(chosen.outbox, chosen.outbox_max_bytes, pictures)
    with (
        outbox,
        engine_for(chosen, len(catalog)) as engine,
        _monitored(chosen, catalog, engine, outbox) as monitor,
    ):
        beating = asyncio.create_task(_again_and_again(BEAT_EVERY_S, monitor.beat))
        await _warm(engine, catalog)
        developer = Developer(
            settings=chosen,
            catalog=catalog,
            engine=engine,
            jobs=JobStore(redis, chosen),
            outbox=outbox,
            worker=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}",
        )
        async with tracing.exporting(chosen.otlp_endpoint, "darkroom-worker"), sending(chosen):
            await _work(developer, redis, pictures, stopping, monitor)
        beating.cancel()
    await redis.aclose()


def engine_for(chosen: Settings, models: int) -> Engine:
    """An engine with room for every image of every job that the takers may hold."""
    return Engine(
        default_device(),
        max_batch_rows=chosen.max_batch_rows,
        max_images=models * chosen.worker_jobs * MAX_IMAGES,
        models_limit_bytes=chosen.models_limit_bytes,
        reproducible=chosen.reproducible,
        observer=Measured(chosen.max_batch_rows),
    )


@contextmanager
def _monitored(
    chosen: Settings, models: Catalog, engine: Engine, outbox: Outbox
) -> Iterator[Monitor]:
    """A monitor, and whatever the settings say of serving it."""
    metrics.expect(metrics.ATTEMPT_SECONDS, models, Outcome)
    for counter in (metrics.RETRIES, metrics.LEASES_LOST, metrics.IMAGES):
        metrics.expect(counter, models)
    monitor = Monitor(
        lambda: take_stock(engine, outbox), lambda: engine.pulse.longest_s > chosen.stall_s
    )
    with serving(monitor, chosen.worker_metrics_host, chosen.worker_metrics_port):
        yield monitor


async def _work(
    developer: Developer,
    redis: ArqRedis,
    pictures: PictureStore,
    stopping: asyncio.Event,
    monitor: Monitor,
) -> None:
    """Take jobs until told to stop, then let go of them in order."""
    chosen, models = developer.settings, list(developer.catalog)
    signals = Signals(redis)
    takers = [Taker(chosen, redis, signals, model, developer.develop) for model in models]
    work = [
        signals.listen(),
        *(taker.take() for taker in takers),
        *_chores(developer, redis, pictures),
    ]
    background = [asyncio.create_task(task) for task in work]
    log.info("ready on %s for %s", developer.engine.device, ", ".join(models))
    monitor.is_ready = True
    await stopping.wait()
    monitor.is_ready = False
    await asyncio.gather(*(taker.drain(chosen.drain_s) for taker in takers))
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await _quietly(queue.withdraw(redis, developer.worker, models))


def _chores(
    developer: Developer, redis: ArqRedis, pictures: PictureStore
) -> Iterator[Coroutine[None, None, None]]:
    """What every worker does again and again beside its jobs."""
    chosen, models, jobs = developer.settings, list(developer.catalog), developer.jobs

    async def watch_device() -> None:
        stalled_s = developer.engine.pulse.longest_s
        if stalled_s > chosen.stall_s:
            # What hangs in a driver cannot be stopped from here; the leases lapse by themselves.
            log.critical("the device has hung for %.0f s; this worker ends itself", stalled_s)
            os._exit(os.EX_SOFTWARE)

    async def put_back() -> None:
        for model in models:
            if count := await jobs.sweep(model):
                log.warning("put %d jobs of %s back in line: their workers are lost", count, model)

    async def sweep_outbox() -> None:
        await developer.outbox.sweep(jobs)

    async def sweep_pictures() -> None:
        await retention.sweep_in_turn(
            redis, pictures, chosen.retention_s, every_s=SWEEP_PICTURES_EVERY_S
        )

    for interval_s, chore in (
        (ANNOUNCE_EVERY_S, lambda: queue.announce(redis, developer.worker, models)),
        (min(chosen.stall_s / 4, WATCH_DEVICE_EVERY_S), watch_device),
        (chosen.lease_s * NOTICE_LAPSE, put_back),
        (SWEEP_OUTBOX_EVERY_S, sweep_outbox),
        (SWEEP_PICTURES_EVERY_S, sweep_pictures),
    ):
        yield _again_and_again(interval_s, chore)


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


async def _again_and_again(interval_s: float, action: Callable[[], Awaitable[None]]) -> None:
    while not is_told_to_end():
        await _quietly(action())
        await asyncio.sleep(interval_s)


async def _quietly(action: Awaitable[None]) -> None:
    """What the takers do not depend on may fail while Redis or S3 is away; the takers say so."""
    try:
        with redis_errors():
            await action
    except StoreUnavailableError as error:
        log.debug("%s", error)
