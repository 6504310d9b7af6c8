"""Both clients against the real application."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from both_clients import Client
from darkroom import (
    AsyncDarkroom,
    Batch,
    Darkroom,
    Image,
    Job,
    JobFailedError,
    PictureError,
    Preview,
    Progress,
    QueuePlace,
    RefusedError,
    Running,
    UnreachableError,
    WaitingError,
)
from gate import Gate, copy
from played_worker import PlayedWorker

from jobs.store import JobStore

PROMPT = "a red circle on a blue background"


async def test_submitting_looking_and_cancelling(client: Client) -> None:
    job = await client.call("submit", PROMPT, seed=7, images=2)
    assert (job.status, job.request["seed"], job.finished) == ("queued", 7, False)
    assert job.queue == QueuePlace(position=0, workers=0)
    assert await client.call("get", job) == job
    assert (await client.call("cancel", job.id)).status == "canceled"
    await client.call("delete", job)
    with pytest.raises(RefusedError, match="no job") as refused:
        await client.call("get", job)
    assert (refused.value.status, refused.value.kind) == (404, "job-not-found")


async def test_a_watcher_is_told_everything_from_the_queue_to_the_end(
    client: Client, worker: PlayedWorker
) -> None:
    job = await client.call("submit", PROMPT)
    watching = asyncio.create_task(client.all("stream", job))
    await worker.watched(job)
    await worker.develop(job)
    events = await watching
    # A start may come before the place in line was asked for.
    assert {type(event) for event in events[:-1]} >= {Running, Progress, Image, Preview}
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4]
    (preview,) = (event for event in events if isinstance(event, Preview))
    assert (preview.data, preview.content_type) == (b"a small picture", "image/webp")
    assert isinstance(events[-1], Job)
    assert events[-1].status == "succeeded"
    assert await client.call("fetch", events[-1].images[0]) == b"a picture"


@pytest.mark.parametrize("is_live", [False, True])
async def test_waiting_ends_with_the_job(
    client: Client, worker: PlayedWorker, is_live: bool
) -> None:
    job = await client.call("submit", PROMPT)
    events: list[object] = []
    waiting = asyncio.create_task(
        client.call("wait", job, on_event=events.append if is_live else None)
    )
    await worker.watched(job)
    await worker.develop(job)
    done = await waiting
    assert (done.id, done.status, done.progress.step) == (job.id, "succeeded", 20)
    assert (events[-1:] == [done]) is is_live


async def test_waiting_has_an_end_of_its_own(client: Client) -> None:
    job = await client.call("submit", PROMPT)
    with pytest.raises(WaitingError, match=rf"job {job.id} has not finished after 0\.2 s"):
        await client.call("wait", job, timeout_s=0.2)
    assert (await client.call("get", job)).status == "queued"


async def test_generating_raises_when_there_will_be_no_picture(
    client: Client, store: JobStore
) -> None:
    generating = asyncio.create_task(client.call("generate", PROMPT, labels={"of": "this-test"}))
    async with asyncio.timeout(10):
        while not (found := await client.all("jobs", label="of:this-test")):
            await asyncio.sleep(0.01)
    await store.cancel(found[0].id)
    with pytest.raises(JobFailedError, match="it was canceled") as failed:
        await generating
    assert failed.value.job.id == found[0].id


async def test_a_refusal_names_the_fields(client: Client) -> None:
    with pytest.raises(RefusedError, match="steps") as refused:
        await client.call("submit", PROMPT, steps=0)
    assert (refused.value.status, refused.value.kind) == (422, "invalid-request")
    assert [(fault.field, fault.limit) for fault in refused.value.errors] == [("steps", 1)]


async def test_models_are_listed(client: Client) -> None:
    assert "shapes-sd" in [model.name for model in await client.call("models")]


async def test_jobs_are_listed_over_many_pages_newest_first(client: Client) -> None:
    submitted = await client.call("batch", grid={"prompt": [PROMPT], "seed": list(range(150))})
    listed = await client.all("jobs", batch=submitted.id)
    assert [job.id for job in listed] == sorted(submitted.jobs, reverse=True)
    assert await client.all("jobs", batch=submitted.id, limit=120) == listed[:120]
    assert await client.all("jobs", batch=submitted.id, status="running") == []


async def test_a_batch_is_one_submit_and_one_cancel(client: Client) -> None:
    jobs = [{"prompt": PROMPT, "seed": seed} for seed in range(3)]
    batch = await client.call("batch", jobs)
    assert (len(batch.jobs), batch.finished) == (3, False)
    assert await client.call("get_batch", batch) == batch
    seen: list[Batch] = []
    waiting = asyncio.create_task(client.call("wait_batch", batch, on_change=seen.append))
    async with asyncio.timeout(10):
        while not seen:
            await asyncio.sleep(0.01)
    await client.call("cancel_batch", batch)
    done = await waiting
    assert (done.finished, done.counts["canceled"]) == (True, 3)
    assert seen == [batch, done]


async def test_a_picture_is_saved_as_it_was_stored(
    client: Client, worker: PlayedWorker, tmp_path: Path
) -> None:
    job = await client.call("submit", PROMPT)
    await worker.develop(job)
    (image,) = (await client.call("get", job)).images
    path = await client.call("download", image, tmp_path / "circle.png")
    assert path.read_bytes() == b"a picture"


async def test_a_picture_that_is_not_what_was_stored_is_refused(
    client: Client, worker: PlayedWorker, store: JobStore, tmp_path: Path
) -> None:
    job = await client.call("submit", PROMPT)
    await worker.develop(job)
    (image,) = (await client.call("get", job)).images
    other = Image.read({**vars(image), "sha256": "0" * 64})
    with pytest.raises(PictureError, match="did not come as it was stored"):
        await client.call("download", other, tmp_path / "circle.png")
    assert os.listdir(tmp_path) == []


async def test_an_address_that_is_signed_for_another_is_refused_and_not_told(
    client: Client, worker: PlayedWorker
) -> None:
    job = await client.call("submit", PROMPT)
    await worker.develop(job)
    (image,) = (await client.call("get", job)).images
    forged = Image.read({**vars(image), "url": str(image.url).replace("Signature=", "Signature=x")})
    with pytest.raises(UnreachableError, match="the storage answered 403") as refused:
        await client.call("fetch", forged)
    assert "Signature" not in str(refused.value)


# -- a bad connection ------------------------------------------------------------------------------


@pytest.fixture
async def gate(port: int) -> AsyncIterator[Gate]:
    gate = Gate(port)
    await gate.open()
    yield gate
    await gate.close()


@pytest.fixture
async def distant(kind: type[Darkroom | AsyncDarkroom], gate: Gate) -> AsyncIterator[Client]:
    """A client behind a gate."""
    client = Client(kind(f"http://127.0.0.1:{gate.port}"))
    yield client
    await client.close()


async def test_a_watcher_that_is_cut_again_and_again_is_told_everything_once(
    distant: Client, gate: Gate, worker: PlayedWorker
) -> None:
    rng, job = random.Random(5), await distant.call("submit", PROMPT, steps=100)
    watching = asyncio.create_task(distant.all("stream", job))
    await worker.watched(job)
    developing = asyncio.create_task(worker.develop(job, 100, lambda: asyncio.sleep(0.02)))
    cuts = 0
    while not developing.done():
        await asyncio.sleep(rng.uniform(0, 0.3))
        await gate.close()
        await gate.open()
        cuts += 1
    events = await watching
    assert cuts >= 5
    assert [event.step for event in events if isinstance(event, Progress)] == list(range(1, 101))
    assert len([event for event in events if isinstance(event, Image | Job)]) == 2


class _LosingGate(Gate):
    """Cuts the first connections when the answer is there, before any of it is through."""

    lost = 0

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.lost == 2:
            await super()._forward(reader, writer)
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        asking = asyncio.create_task(copy(reader, far_writer))
        await far_reader.read(1)
        self.lost += 1
        asking.cancel()
        writer.transport.abort()
        far_writer.close()


async def test_a_submit_whose_answer_was_lost_makes_one_job(
    kind: type[Darkroom | AsyncDarkroom], port: int
) -> None:
    gate = _LosingGate(port)
    await gate.open()
    client = Client(kind(f"http://127.0.0.1:{gate.port}"))
    job = await client.call("submit", PROMPT)
    assert gate.lost == 2
    assert [each.id for each in await client.all("jobs")] == [job.id]
    await client.close()
    await gate.close()


async def test_a_wait_outlasts_a_restart_of_the_service(
    distant: Client, gate: Gate, worker: PlayedWorker
) -> None:
    job = await distant.call("submit", PROMPT)
    waiting = asyncio.create_task(distant.call("wait", job))
    await worker.watched(job)
    await gate.close()
    await worker.develop(job, 20, lambda: asyncio.sleep(0.05))
    await gate.open()
    assert (await waiting).status == "succeeded"


async def test_a_service_that_is_not_there_is_named(kind: type[Darkroom | AsyncDarkroom]) -> None:
    nowhere = Client(kind("http://127.0.0.1:1", retries=1))
    with pytest.raises(UnreachableError, match=r"nothing answers at http://127\.0\.0\.1:1"):
        await nowhere.call("models")
    await nowhere.close()


# -- what it costs ---------------------------------------------------------------------------------


def test_importing_it_costs_little_and_needs_nothing_of_the_service() -> None:
    program = (
        "import sys\n"
        "from darkroom import AsyncDarkroom, Darkroom\n"
        "dear = {'asyncio', 'httpx', 'pydantic', 'rich', 'tomllib', 'typer'}\n"
        "ours = {'api', 'jobs', 'local', 'pipelines', 'worker'}\n"
        "print(*sorted((dear | ours) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
