"""What is wrong with Redis or the bucket is told in a line each."""

import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from jobs import checks
from jobs.connection import connect
from jobs.settings import Settings
from jobs.storage import PictureStore
from local import programs
from local.ports import free_port


@pytest.fixture
async def misconfigured(redis: ArqRedis) -> AsyncIterator[ArqRedis]:
    """A Redis whose configuration a test may spoil."""
    kept = {
        name: value
        for pattern in ("maxmemory-policy", "appendonly", "appendfsync")
        for name, value in (await redis.config_get(pattern)).items()
    }
    yield redis
    for name, value in kept.items():
        await redis.config_set(name, value)


async def test_the_local_stack_has_nothing_to_warn_of(
    redis: ArqRedis, pictures: PictureStore
) -> None:
    assert await checks.warnings(redis, pictures) == []


@pytest.mark.parametrize(
    ("name", "value", "warning"),
    [
        ("maxmemory-policy", "allkeys-lru", "Redis evicts (allkeys-lru)"),
        ("appendonly", "no", "Redis has no append-only file"),
        ("appendfsync", "everysec", "Redis writes its append-only file everysec"),
    ],
)
async def test_a_redis_that_may_lose_jobs_is_warned_of(
    misconfigured: ArqRedis, name: str, value: str, warning: str
) -> None:
    await misconfigured.config_set(name, value)
    (found,) = await checks.redis_warnings(misconfigured)
    assert found.startswith(warning)


async def test_a_redis_that_is_not_there_is_one_line() -> None:
    redis = connect(Settings(redis_url="redis://127.0.0.1:1/0"))  # type: ignore[arg-type]
    (found,) = await checks.redis_warnings(redis)
    assert found.startswith("Redis does not answer")
    await redis.aclose()


def test_a_bucket_that_is_not_there_is_one_line(settings: Settings) -> None:
    missing = PictureStore(settings.model_copy(update={"s3_bucket": "no-such-bucket"}))
    (found,) = checks.bucket_warnings(missing)
    assert found.startswith("the bucket 'no-such-bucket' cannot be reached")


def test_a_check_leaves_nothing_in_the_bucket(settings: Settings, pictures: PictureStore) -> None:
    def left() -> set[str]:
        listed = pictures._s3.list_objects_v2(Bucket=settings.s3_bucket, Prefix="check/")
        return {found["Key"] for found in listed.get("Contents", [])}

    # A service that another test has stopped may have been at its own.
    before = left()
    assert checks.bucket_warnings(pictures) == []
    assert left() == before


async def test_a_redis_that_is_too_old_is_warned_of(
    redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "OLDEST_REDIS", (99, 0))
    (found,) = await checks.redis_warnings(redis)
    assert found.endswith("Darkroom needs 99.0")


@pytest.fixture
def serving(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., PictureStore]]:
    """Another S3 server, as a careless operator might have started it."""
    running: list[subprocess.Popen[bytes]] = []

    def serve(*options: str) -> PictureStore:
        port = free_port()
        (tmp_path / "darkroom").mkdir()
        command = [programs.rclone(), "serve", "s3", str(tmp_path), "--addr", f"127.0.0.1:{port}"]
        running.append(subprocess.Popen([*command, "--config", "", *options]))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        return PictureStore(settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{port}"}))

    yield serve
    for process in running:
        process.kill()
        process.wait()


def test_a_bucket_that_is_open_to_strangers_is_warned_of(
    serving: Callable[..., PictureStore],
) -> None:
    (found,) = checks.bucket_warnings(serving())
    assert "is public" in found


def test_a_bucket_that_cannot_be_written_is_warned_of(
    settings: Settings, serving: Callable[..., PictureStore]
) -> None:
    assert settings.s3_access_key is not None
    assert settings.s3_secret_key is not None
    pair = ",".join(
        key.get_secret_value() for key in (settings.s3_access_key, settings.s3_secret_key)
    )
    (found,) = checks.bucket_warnings(serving("--read-only", "--auth-key", pair))
    assert found.startswith("a picture cannot be stored")
