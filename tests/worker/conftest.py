"""A worker's parts in this process: a real engine on the shipped model, and arq beside it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import torch
from arq.connections import ArqRedis

from jobs.model import Job
from jobs.settings import Settings
from jobs.signals import Signals
from jobs.storage import PictureStore
from jobs.store import JobStore
from pipelines.catalog import Catalog
from pipelines.engine import Engine
from worker.develop import Developer
from worker.outbox import Outbox
from worker.taker import Taker

Working = Callable[..., AbstractAsyncContextManager[Developer]]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine(torch.device("cpu")) as engine:
        yield engine


@pytest.fixture
def outbox(tmp_path: Path, pictures: PictureStore) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox", 2**20, pictures) as outbox:
        yield outbox


@pytest.fixture
def developer(settings: Settings, engine: Engine, store: JobStore, outbox: Outbox) -> Developer:
    return Developer(
        settings=settings,
        catalog=Catalog.load(settings.catalog),
        engine=engine,
        jobs=store,
        outbox=outbox,
        worker="here:1:abc",
    )


@pytest.fixture
def working(settings: Settings, redis: ArqRedis, developer: Developer) -> Working:
    """Take a model's jobs, by arq, for as long as a block lasts."""

    @asynccontextmanager
    async def run(model: str = "shapes-sd", by: Developer = developer) -> AsyncIterator[Developer]:
        signals = Signals(redis)
        taker = Taker(settings, redis, signals, model, by.develop)
        working = [asyncio.create_task(work) for work in (signals.listen(), taker.take())]
        try:
            yield by
        finally:
            await taker.drain(0)
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    return run


@pytest.fixture
def until(store: JobStore) -> Callable[..., asyncio.Future[Job]]:
    """Wait, with a bound, for a job to be as wanted."""

    async def wait(job_id: str, wanted: Callable[[Job], bool], within_s: float = 60) -> Job:
        async with asyncio.timeout(within_s):
            while not wanted(job := await store.get(job_id)):
                await asyncio.sleep(0.01)
        return job

    return wait  # type: ignore[return-value]
