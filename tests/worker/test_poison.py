"""A queue with poison in it: the worker runs none of it, and goes on with everybody else's jobs."""

import json
import pickle
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from jobs import keys
from jobs.model import AdmittedRequest, Job, JobStatus
from jobs.record import new_job_id
from jobs.store import JobStore
from worker.develop import Developer

MODEL = "shapes-sd"


class Evil:
    """Whoever unpickles it leaves a file behind."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._proof), "w")


def definition(function: str, *arguments: object) -> bytes:
    """A job as arq lays it down: function, arguments, tries, enqueue time."""
    return json.dumps({"t": None, "f": function, "a": arguments, "k": {}, "et": 0}).encode()


@pytest.fixture
def poisons(tmp_path: Path) -> list[bytes]:
    return [
        pickle.dumps({"t": None, "f": "develop", "a": (Evil(tmp_path / "was run"),), "k": {}}),
        pickle.dumps(Evil(tmp_path / "was run")),
        b"",
        b"{",
        b"[1, 2]",
        definition("os.system", "true"),
        definition("develop"),
        definition("develop", 1, 2, 3),
        definition("develop", "../../../etc/passwd"),
        definition("develop", ["a"]),
    ]


async def test_poison_in_the_queue_is_never_run_and_stops_nobody(
    working: Callable[..., AbstractAsyncContextManager[Developer]],
    until: Callable[..., Awaitable[Job]],
    store: JobStore,
    redis: ArqRedis,
    request_: AdmittedRequest,
    poisons: list[bytes],
    tmp_path: Path,
) -> None:
    for poison in poisons:
        job_id = new_job_id()
        await redis.set(keys.definition(job_id), poison)
        await redis.zadd(keys.queue(MODEL), {job_id: -(2.0**52)})
    await redis.zadd(keys.queue(MODEL), {b"\xff\xfe": -(2.0**52), b"": -(2.0**52)})
    sound = await store.submit(request_.model_copy(update={"steps": 4}))
    async with working():
        done = await until(sound.id, lambda job: job.status.finished)
    assert done.status is JobStatus.SUCCEEDED
    assert not (tmp_path / "was run").exists()
