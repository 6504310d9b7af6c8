"""What a worker tells of itself: metrics of real jobs, and whether it lives and is ready."""

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from jobs import metrics
from jobs.model import AdmittedRequest, Job
from jobs.settings import Settings
from jobs.store import JobStore
from local.ports import free_port
from pipelines.catalog import Catalog
from pipelines.engine import Engine
from pipelines.pipeline import ImageRequest
from worker.develop import Developer, Outcome
from worker.monitor import SILENT_S, Monitor, serving
from worker.observing import Measured, take_stock
from worker.outbox import Outbox

Until = Callable[..., Awaitable[Job]]
Working = Callable[..., AbstractAsyncContextManager[Developer]]
MODEL = {"model": "shapes-sd"}
REQUEST = ImageRequest(
    prompt="a red circle", width=64, height=64, steps=4, guidance_scale=4.0, seed=1
)


def finished(job: Job) -> bool:
    return job.status.finished


def value(name: str, **labels: str) -> float:
    """A sample of this process, 0 while there is none."""
    return metrics.WORKER.get_sample_value(name, labels) or 0.0


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_a_job_is_measured_from_its_wait_to_its_pictures(
    working: Working, until: Until, store: JobStore, request_: AdmittedRequest
) -> None:
    counted = {
        "darkroom_images_total": MODEL,
        "darkroom_job_wait_seconds_count": {**MODEL, "lane": "interactive"},
        "darkroom_attempt_duration_seconds_count": {**MODEL, "outcome": Outcome.SUCCEEDED},
        **{
            f"darkroom_image_stage_duration_seconds_count/{stage}": {**MODEL, "stage": stage}
            for stage in ("encode", "step", "decode", "picture", "upload")
        },
    }

    def read() -> dict[str, float]:
        return {name: value(name.split("/")[0], **labels) for name, labels in counted.items()}

    before = read()
    job = await store.submit(request_.model_copy(update={"images": 2}))
    async with working():
        await until(job.id, finished)
    gained = {name: count - before[name] for name, count in read().items()}
    per_job = {"darkroom_job_wait_seconds_count", "darkroom_attempt_duration_seconds_count"}
    assert gained == {name: 1 if name in per_job else 2 for name in counted}


async def test_a_job_that_lost_its_worker_counts_as_a_retry_and_its_lease_as_lost(
    working: Working, until: Until, store: JobStore, request_: AdmittedRequest, developer: Developer
) -> None:
    before = value("darkroom_job_retries_total", **MODEL)
    job = await store.submit(request_)
    assert await store.claim(job.id, "shapes-sd", "dead:1:abc")
    async with working():
        await until(job.id, finished)
    assert value("darkroom_job_retries_total", **MODEL) == before + 1


async def test_who_finds_another_holder_has_lost_a_lease_and_a_cancel_loses_none(
    developer: Developer, store: JobStore, request_: AdmittedRequest
) -> None:
    lost, canceled = [await store.submit(request_) for _ in range(2)]
    before = value("darkroom_leases_lost_total", **MODEL)
    await store.cancel(canceled.id)
    assert await developer._let_go(lost) is Outcome.LOST
    assert await developer._let_go(canceled) is Outcome.CANCELED
    await store.delete(canceled.id)
    assert await developer._let_go(canceled) is Outcome.CANCELED
    assert value("darkroom_leases_lost_total", **MODEL) == before + 1


def test_the_engine_tells_of_loads_and_steps(settings: Settings) -> None:
    spec = Catalog.load(settings.catalog)["shapes-sd"]
    before = {
        name: value(name, **MODEL)
        for name in (
            "darkroom_model_load_duration_seconds_count",
            "darkroom_step_duration_seconds_count",
            "darkroom_batch_fill_ratio_sum",
        )
    }

    with Engine(torch.device("cpu"), max_batch_rows=8, observer=Measured(8)) as engine:
        engine.submit(spec, REQUEST).future.result(60)
    gained = {name: value(name, **MODEL) - count for name, count in before.items()}
    assert gained["darkroom_model_load_duration_seconds_count"] == 1
    assert gained["darkroom_step_duration_seconds_count"] == REQUEST.steps
    # One image with guidance: two rows of eight.
    assert gained["darkroom_batch_fill_ratio_sum"] == pytest.approx(REQUEST.steps * 2 / 8)


def test_a_scrape_takes_stock_of_device_and_disk(engine: Engine, outbox: Outbox) -> None:
    port = free_port()
    monitor = Monitor(lambda: take_stock(engine, outbox), lambda: False)
    with serving(monitor, "127.0.0.1", port):
        code, text = get(port, "/metrics")
    assert code == 200
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    used, total = found["darkroom_device_memory_used_bytes"], found["darkroom_device_memory_bytes"]
    assert 0 < used < total
    assert found["darkroom_outbox_bytes"] == 0


def test_health_follows_the_worker() -> None:
    port, hung = free_port(), False
    monitor = Monitor(lambda: None, lambda: hung)
    with serving(monitor, "127.0.0.1", port):
        assert get(port, "/health/live") == (200, "alive\n")
        assert get(port, "/health/ready") == (503, "not ready\n")
        monitor.is_ready = True
        assert get(port, "/health/ready") == (200, "ready\n")
        hung = True
        assert get(port, "/health/live") == (503, "the device hangs\n")
        hung = False
        monitor._beaten_s = time.monotonic() - SILENT_S - 1
        assert get(port, "/health/live") == (503, "the event loop hangs\n")
        asyncio.run(monitor.beat())
        assert get(port, "/health/live")[0] == 200
        assert get(port, "/elsewhere")[0] == 404


def test_a_port_that_is_taken_is_named() -> None:
    monitor, port = Monitor(lambda: None, lambda: False), free_port()
    with (
        serving(monitor, "127.0.0.1", port),
        pytest.raises(SystemExit, match=rf"127\.0\.0\.1:{port} .* cannot be listened on"),
        serving(monitor, "127.0.0.1", port),
    ):
        pass
