"""What would break the promise that nothing is lost, told in a line each before it does."""

import asyncio
import secrets
import sys
import urllib.error
import urllib.request

from arq.connections import ArqRedis
from redis.exceptions import ResponseError

from jobs.connection import connect, redis_errors
from jobs.errors import StoreUnavailableError
from jobs.settings import Settings
from jobs.storage import PictureStore

#: The first Redis that replicates script effects and has every command we use.
OLDEST_REDIS = (6, 2)


async def warnings(redis: ArqRedis, pictures: PictureStore) -> list[str]:
    """Everything that is wrong with Redis and the bucket; empty when all is well."""
    found = await asyncio.gather(
        redis_warnings(redis), asyncio.to_thread(bucket_warnings, pictures)
    )
    return [warning for part in found for warning in part]


async def redis_warnings(redis: ArqRedis) -> list[str]:
    """Whether Redis is there, new enough, keeps what it holds and never evicts it."""
    try:
        with redis_errors():
            server = await redis.info("server")
            configured = await _configuration(redis)
    except StoreUnavailableError as error:
        return [str(error)]
    found = []
    version = str(server["redis_version"])
    if tuple(map(int, version.split(".")[:2])) < OLDEST_REDIS:
        found.append(f"Redis is {version}; Darkroom needs {'.'.join(map(str, OLDEST_REDIS))}")
    policy = configured.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        found.append(
            f"Redis evicts ({policy}) and so may lose jobs; set maxmemory-policy noeviction"
        )
    if configured.get("appendonly", "yes") == "no":
        found.append("Redis has no append-only file, so a restart loses jobs; set appendonly yes")
    elif configured.get("appendfsync", "always") != "always":
        found.append(
            f"Redis writes its append-only file {configured['appendfsync']}, so a power cut can "
            "lose the last jobs; set appendfsync always"
        )
    return found


async def _configuration(redis: ArqRedis) -> dict[str, str]:
    try:
        # One name at a time: Redis takes several from version 7 on.
        return {
            name: value
            for pattern in ("maxmemory-policy", "appendonly", "appendfsync")
            for name, value in (await redis.config_get(pattern)).items()
        }
    except ResponseError:
        # Many hosted services do not say how they are configured.
        return {}


def bucket_warnings(pictures: PictureStore) -> list[str]:
    """Whether the bucket is there, can be written, and is closed to strangers."""
    key = f"check/{secrets.token_hex(8)}"
    try:
        pictures.check()
        pictures.put(key, b"", "text/plain")
    except StoreUnavailableError as error:
        return [str(error)]
    try:
        if _is_open(pictures.presign(key).split("?")[0]):
            return [f"the bucket {pictures.bucket!r} is public: anybody can read its pictures"]
        return []
    finally:
        pictures.delete([key])


def _is_open(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError):
        return False


async def main() -> int:
    """Print what is wrong; the exit code is 1 when anything is."""
    settings = Settings()
    redis = connect(settings)
    found = await warnings(redis, PictureStore(settings))
    await redis.aclose()
    for warning in found:
        print(warning, file=sys.stderr)
    if not found:
        print("Redis and the bucket are as they should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
