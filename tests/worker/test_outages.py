"""Redis or S3 goes away under a working worker, and a job kills worker after worker."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from arq.connections import ArqRedis
from gate import Gate
from pydantic import SecretStr

from jobs import keys
from jobs.connection import connect
from jobs.model import AdmittedRequest, Job, JobStatus
from jobs.settings import Settings
from jobs.signals import Signals
from jobs.storage import PictureStore
from jobs.store import JobStore
from pipelines.engine import Engine
from worker.develop import Developer
from worker.outbox import Outbox
from worker.taker import Taker

MODEL = "shapes-sd"
Until = Callable[..., Awaitable[Job]]
Working = Callable[..., AbstractAsyncContextManager[Developer]]


def finished(job: Job) -> bool:
    return job.status.finished


@pytest.fixture
async def redis_gate(settings: Settings) -> AsyncIterator[Gate]:
    port = settings.redis_url.get_secret_value().rpartition(":")[2].partition("/")[0]
    gate = Gate(int(port))
    await gate.open()
    yield gate
    await gate.close()


@pytest.fixture
async def s3_gate(settings: Settings) -> AsyncIterator[Gate]:
    """Closed to begin with."""
    gate = Gate(int(str(settings.s3_endpoint).rpartition(":")[2]))
    yield gate
    await gate.close()


@pytest.fixture
def without_s3(settings: Settings, s3_gate: Gate, tmp_path: Path) -> Iterator[Outbox]:
    changes = {"s3_endpoint": f"http://127.0.0.1:{s3_gate.port}", "s3_timeout_s": 1.0}
    pictures = PictureStore(settings.model_copy(update=changes))
    with Outbox(tmp_path / "outbox", 2**20, pictures) as outbox:
        yield outbox


@pytest.fixture
def submitted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the images that the engine was asked for."""
    seeds: list[int] = []
    submit = engine.submit

    def noting(spec, request, **options):  # type: ignore[no-untyped-def]
        seeds.append(request.seed)
        return submit(spec, request, **options)

    monkeypatch.setattr(engine, "submit", noting)
    return seeds


async def test_a_worker_works_on_without_redis_and_reports_when_it_is_back(
    settings: Settings,
    developer: Developer,
    redis_gate: Gate,
    until: Until,
    store: JobStore,
    submitted: list[int],
    request_: AdmittedRequest,
) -> None:
    address = settings.redis_url.get_secret_value().rpartition(":")[0]
    changes = {"redis_url": SecretStr(f"{address}:{redis_gate.port}/0"), "redis_timeout_s": 1.0}
    cut_off = settings.model_copy(update=changes)
    redis = connect(cut_off)
    by = replace(developer, jobs=JobStore(redis, cut_off))
    signals = Signals(redis)
    taker = Taker(cut_off, redis, signals, MODEL, by.develop)
    working = [asyncio.create_task(work) for work in (signals.listen(), taker.take())]
    job = await store.submit(request_.model_copy(update={"steps": 60}))
    await until(job.id, lambda job: job.progress.step > 0)
    await redis_gate.close()
    async with asyncio.timeout(60):
        while developer.engine.images:
            await asyncio.sleep(0.01)
    assert (await store.get(job.id)).status is JobStatus.RUNNING
    await redis_gate.open()
    done = await until(job.id, finished)
    assert done.status is JobStatus.SUCCEEDED
    assert submitted == [request_.seed], "it was made once"
    await taker.drain(0)
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    await redis.aclose()


async def test_while_s3_is_away_jobs_go_on_and_none_is_made_twice(
    settings: Settings,
    working: Working,
    developer: Developer,
    without_s3: Outbox,
    s3_gate: Gate,
    until: Until,
    store: JobStore,
    submitted: list[int],
    request_: AdmittedRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More jobs than the taker may develop at once: what only waits for storage does not count."""
    monkeypatch.setitem(settings.__dict__, "worker_jobs", 2)
    jobs = [
        await store.submit(request_.model_copy(update={"seed": 10 * n, "steps": 5}))
        for n in range(6)
    ]
    async with working(by=replace(developer, outbox=without_s3)):
        async with asyncio.timeout(60):
            while len(submitted) < 6 or developer.engine.images:
                await asyncio.sleep(0.01)
        assert {(await store.get(job.id)).status for job in jobs} == {JobStatus.RUNNING}
        await s3_gate.open()
        ended = [await until(job.id, finished) for job in jobs]
    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}
    assert {len(job.attempts) for job in ended} == {1}
    assert sorted(submitted) == [10 * n for n in range(6)]


async def test_the_next_worker_on_the_machine_stores_what_the_dead_one_had_made(
    working: Working,
    developer: Developer,
    without_s3: Outbox,
    s3_gate: Gate,
    until: Until,
    store: JobStore,
    redis: ArqRedis,
    submitted: list[int],
    request_: AdmittedRequest,
) -> None:
    job = await store.submit(request_.model_copy(update={"images": 2}))
    claimed = await store.claim(job.id, MODEL, "gone:1:abc")
    assert claimed is not None
    async with working(by=replace(developer, outbox=without_s3)):
        await redis.zadd(keys.queue(MODEL), {job.id: 1})
        async with asyncio.timeout(60):
            while len(submitted) < 2 or developer.engine.images:
                await asyncio.sleep(0.01)
            while not all(without_s3.find(job.id, index) for index in range(2)):
                await asyncio.sleep(0.01)
    # The block's end handed the job back; the outbox still has its pictures.
    await s3_gate.open()
    async with working(by=replace(developer, outbox=without_s3)):
        done = await until(job.id, finished)
    assert done.status is JobStatus.SUCCEEDED
    assert len(submitted) == 2, "no image was made again"
    assert done.progress.step == done.progress.steps


async def test_a_job_on_its_last_attempt_is_developed_alone(
    working: Working,
    until: Until,
    store: JobStore,
    redis: ArqRedis,
    settings: Settings,
    engine: Engine,
    request_: AdmittedRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing else is in the engine while it is, neither before it nor after it in line."""
    company: dict[int, int] = {}
    submit = engine.submit

    def noting(spec, request, **options):  # type: ignore[no-untyped-def]
        company[request.seed] = engine.images
        return submit(spec, request, **options)

    monkeypatch.setattr(engine, "submit", noting)
    first = await store.submit(request_.model_copy(update={"seed": 1, "steps": 50}))
    suspect = await store.submit(request_.model_copy(update={"seed": 13, "steps": 100}))
    for _ in range(settings.max_attempts - 1):
        assert await store.claim(suspect.id, MODEL, "gone:1:abc") is not None
        await redis.zadd(keys.queue(MODEL), {suspect.id: 1})
        await redis.delete(keys.in_progress(suspect.id))
    await store.sweep(MODEL)
    last = await store.submit(request_.model_copy(update={"seed": 2}))
    async with working():
        ended = [await until(job.id, finished) for job in (first, suspect, last)]
    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}
    assert company[13] == 0, "it waited for the one before"
    assert company[2] == 0, "and the one after waited for it"


#: A worker as it is, but for what its models do at one seed.
POISONED_WORKER = """
import os, sys, time
from pipelines import engine, loading
def load(spec, device):
    pipeline = loading.load_pipeline(spec, device)
    step = pipeline.step
    def deadly(states):
        if any(state.request.seed == 13 for state in states):
            os.kill(os.getpid(), 9) if sys.argv[1] == 'die' else time.sleep(10 ** 6)
        step(states)
    pipeline.step = deadly
    return pipeline
engine.Engine.__init__.__kwdefaults__['load'] = load
from worker.main import main
main()
"""


@pytest.mark.slow
async def test_a_job_that_kills_every_worker_fails_and_takes_no_neighbour_along(
    settings: Settings,
    stores: object,
    until: Until,
    store: JobStore,
    request_: AdmittedRequest,
    tmp_path: Path,
) -> None:
    environment = {
        **os.environ,
        **stores.environment(),  # type: ignore[attr-defined]
        "DARKROOM_LEASE_S": "1",
        "DARKROOM_OUTBOX": str(tmp_path),
    }
    poison = await store.submit(request_.model_copy(update={"seed": 13}))
    innocent = [await store.submit(request_.model_copy(update={"steps": 50})) for _ in range(4)]
    command = [sys.executable, "-c", POISONED_WORKER, "die"]
    worker = await asyncio.create_subprocess_exec(*command, env=environment)
    deaths = 0
    async with asyncio.timeout(180):
        while not all([(await store.get(job.id)).status.finished for job in (poison, *innocent)]):
            if worker.returncode is not None:
                deaths += 1
                worker = await asyncio.create_subprocess_exec(*command, env=environment)
            await asyncio.sleep(0.05)
    worker.terminate()
    assert await asyncio.wait_for(worker.wait(), 60) == 0
    failed = await store.get(poison.id)
    assert failed.error is not None
    assert failed.error.type == "too-many-attempts"
    assert len(failed.attempts) == deaths == settings.max_attempts
    assert {(await store.get(job.id)).status for job in innocent} == {JobStatus.SUCCEEDED}


@pytest.mark.slow
async def test_a_worker_whose_device_hangs_ends_itself_and_says_so(
    settings: Settings,
    stores: object,
    store: JobStore,
    request_: AdmittedRequest,
    tmp_path: Path,
) -> None:
    environment = {
        **os.environ,
        **stores.environment(),  # type: ignore[attr-defined]
        "DARKROOM_STALL_S": "2",
        "DARKROOM_OUTBOX": str(tmp_path),
    }
    await store.submit(request_.model_copy(update={"seed": 13}))
    command = [sys.executable, "-c", POISONED_WORKER, "hang"]
    worker = await asyncio.create_subprocess_exec(
        *command, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, log = await asyncio.wait_for(worker.communicate(), 120)
    assert worker.returncode == os.EX_SOFTWARE
    assert b"the device has hung" in log
