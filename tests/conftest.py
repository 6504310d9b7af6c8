"""Real parts for tests: a Redis and an S3 server, started once a session, emptied for each test."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from jobs.connection import connect
from jobs.model import AdmittedRequest, OutputFormat
from jobs.settings import Settings
from jobs.storage import PictureStore
from jobs.store import JobStore
from local.part import Part
from local.ports import free_port
from local.stack import Stack

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The local stack's own Redis and S3 server, and no more of it."""
    folder = tmp_path_factory.mktemp("stack")
    stack = Stack(Settings(port=free_port()), folder, ("shapes-sd",))
    processes = []
    for part in stack.stores():
        log = (folder / f"{part.name}.log").open("wb")
        environment = {**os.environ, **part.environment}
        processes.append(
            subprocess.Popen(part.command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        )
        log.close()
        _wait_until_ready(part)
    yield stack
    stack.close()
    for process in processes:
        process.kill()
    for process in processes:
        process.wait(timeout=10)


@pytest.fixture(scope="session")
def settings(stores: Stack) -> Settings:
    """Settings that point at the session's Redis and S3 server."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in stores.environment().items():
            environment.setenv(name, value)
        # Tests that are about keys ask for them; the others may come from anywhere.
        return Settings(catalog=REPOSITORY / "models.yaml", lease_s=1, allow_anonymous=True)


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[ArqRedis]:
    """A connection to an empty Redis."""
    connection = connect(settings)
    await connection.flushall()
    yield connection
    await connection.aclose()


@pytest.fixture
def store(redis: ArqRedis, settings: Settings) -> JobStore:
    return JobStore(redis, settings)


@pytest.fixture
def pictures(settings: Settings) -> PictureStore:
    return PictureStore(settings)


@pytest.fixture(scope="session")
def request_() -> AdmittedRequest:
    """A request as the API admits it."""
    return AdmittedRequest(
        prompt="a red circle on a blue background",
        negative_prompt="",
        model="shapes-sd",
        width=64,
        height=64,
        steps=20,
        guidance_scale=4.0,
        scheduler=None,
        images=1,
        seed=7,
        output_format=OutputFormat.PNG,
    )


def _wait_until_ready(part: Part) -> None:
    deadline = time.monotonic() + part.ready_within_s
    while not asyncio.run(part.is_ready()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{part.name} was not ready in time")
