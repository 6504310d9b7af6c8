"""What is wrong with Redis or the bucket is told in a line each."""

from collections.abc import AsyncIterator

import pytest
from arq.connections import ArqRedis

from jobs import checks
from jobs.connection import connect
from jobs.settings import Settings
from jobs.storage import PictureStore


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
    assert checks.bucket_warnings(pictures) == []
    listed = pictures._s3.list_objects_v2(Bucket=settings.s3_bucket, Prefix="check/")
    assert "Contents" not in listed
