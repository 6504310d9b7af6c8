"""What docs/deploying.md says of moving and restoring Redis, done with real servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from arq.connections import ArqRedis

from jobs.connection import connect, redis_errors
from jobs.errors import StoreUnavailableError
from jobs.model import AdmittedRequest, Job, JobStatus
from jobs.settings import Settings
from jobs.store import JobStore
from local import programs
from local.ports import free_port

CONFIGURATION = Path(__file__).parent.parent.parent / "deploy" / "compose" / "redis.conf"
WAITING = 20


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[tuple[ArqRedis, int]]:
    """A Redis with the configuration of the compose file, whose data stays in a folder."""
    port = free_port()
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(programs.redis_server(), str(CONFIGURATION)),
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    redis = connect(Settings(redis_url=f"redis://127.0.0.1:{port}/0"))

    async def answers() -> bool:
        try:
            with redis_errors():
                return bool(await redis.ping())
        except StoreUnavailableError:
            return False

    try:
        await until(answers)
        yield redis, port
    finally:
        await redis.aclose()
        process.kill()
        await process.wait()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.05)


async def submit_many(redis: ArqRedis, request: AdmittedRequest) -> tuple[list[Job], Job]:
    """Jobs that wait, and before them in line one that runs."""
    store = JobStore(redis, Settings())
    running = await store.submit(request)
    assert await store.claim(running.id, request.model, "there:1:abc")
    waiting = [
        await store.submit(request, idempotency_key=f"key-{n}", fingerprint="same")
        for n in range(WAITING)
    ]
    return waiting, running


async def assert_all_is_there(
    redis: ArqRedis, request: AdmittedRequest, waiting: list[Job], running: Job
) -> None:
    store = JobStore(redis, Settings())
    assert (await store.get(running.id)).status is JobStatus.RUNNING
    for n, job in enumerate(waiting):
        found = await store.get(job.id)
        assert (found.request, found.created_at) == (job.request, job.created_at)
        assert found.status is JobStatus.QUEUED
        again = await store.submit(request, idempotency_key=f"key-{n}", fingerprint="same")
        assert again.id == job.id
        assert await store.claim(job.id, request.model, "here:1:abc")


async def test_a_follower_that_takes_over_has_every_job(
    tmp_path: Path, request_: AdmittedRequest
) -> None:
    async with server(tmp_path / "old") as (old, old_port), server(tmp_path / "new") as (new, _):
        first, running = await submit_many(old, request_)
        await new.replicaof("127.0.0.1", old_port)

        async def follows() -> bool:
            follower, leader = await new.info("replication"), await old.info("replication")
            return bool(
                follower["master_link_status"] == "up"
                and follower["master_repl_offset"] == leader["master_repl_offset"]
            )

        await until(follows)
        # What comes while it follows already goes over as well.
        store = JobStore(old, Settings())
        late = await store.submit(request_, idempotency_key=f"key-{WAITING}", fingerprint="same")
        await until(follows)
        await new.replicaof("no", "one")
        await assert_all_is_there(new, request_, [*first, late], running)


async def test_a_copy_of_plain_commands_has_every_job(
    tmp_path: Path, request_: AdmittedRequest
) -> None:
    """The way to a server that refuses the other's dumps."""
    async with server(tmp_path / "data") as (old, _):
        waiting, running = await submit_many(old, request_)
        await old.config_set("aof-use-rdb-preamble", "no")
        await old.bgrewriteaof()

        async def is_rewritten() -> bool:
            told = await old.info("persistence")
            return not (told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])

        await until(is_rewritten)
    held = b"".join(f.read_bytes() for f in (tmp_path / "data").rglob("*") if f.is_file())
    assert b"REDIS0" not in held
    async with server(tmp_path / "data") as (new, _):
        await assert_all_is_there(new, request_, waiting, running)
