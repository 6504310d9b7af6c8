"""Pictures live as long as the record of their job: the sweep of those that have outlived it."""

import asyncio
import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from arq.connections import ArqRedis

from jobs import keys
from jobs.connection import connect, redis_errors
from jobs.errors import StoreUnavailableError
from jobs.model import JobStatus
from jobs.settings import Settings
from jobs.storage import PictureStore, StoredPicture

log = logging.getLogger("darkroom.jobs")

#: An attempt that failed or was cancelled has stopped storing pictures long before this.
ORPHAN_AGE = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a sweep saw, and what it deleted of that."""

    pictures: int = 0
    size_bytes: int = 0
    deleted: int = 0
    deleted_bytes: int = 0

    def __str__(self) -> str:
        return (
            f"deleted {self.deleted} of {self.pictures} pictures that had outlived their jobs "
            f"({self.deleted_bytes / 1e6:.1f} of {self.size_bytes / 1e6:.1f} MB)"
        )


def is_outlived(status: str | None, age: timedelta, retention: timedelta) -> bool:
    """Whether a picture may go, by its job's status (None: the record is gone) and its own age.

    A missing record alone proves nothing: a Redis that was lost must not take the pictures along.
    """
    if status is None:
        return age > retention
    return status in (JobStatus.FAILED, JobStatus.CANCELED) and age > ORPHAN_AGE


async def sweep(redis: ArqRedis, pictures: PictureStore, retention_s: int) -> Swept:
    """Go through the bucket once and delete the pictures that have outlived their jobs.

    Raises:
        StoreUnavailableError: Redis or S3 went away; the next sweep begins anew.
    """
    swept = Swept()
    pages = pictures.pages()
    while (page := await asyncio.to_thread(next, pages, None)) is not None:
        doomed = await _outlived(redis, page, timedelta(seconds=retention_s))
        await asyncio.to_thread(pictures.delete, [picture.key for picture in doomed])
        swept = Swept(
            pictures=swept.pictures + len(page),
            size_bytes=swept.size_bytes + sum(picture.size_bytes for picture in page),
            deleted=swept.deleted + len(doomed),
            deleted_bytes=swept.deleted_bytes + sum(picture.size_bytes for picture in doomed),
        )
    return swept


async def sweep_in_turn(
    redis: ArqRedis, pictures: PictureStore, retention_s: int, *, every_s: float
) -> None:
    """Sweep, unless any worker has done so lately. Raises as `sweep` does."""
    with redis_errors():
        is_ours = await redis.set(keys.PICTURE_SWEEP, 1, nx=True, px=int(every_s * 1000) - 1)
    if is_ours:
        log.info("%s", await sweep(redis, pictures, retention_s))


async def _outlived(
    redis: ArqRedis, page: list[StoredPicture], retention: timedelta
) -> list[StoredPicture]:
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipe:
            for picture in page:
                pipe.hget(keys.job(picture.job_id), "status")
            statuses = await pipe.execute()
    now = datetime.now(UTC)
    return [
        picture
        for picture, status in zip(page, statuses, strict=True)
        if is_outlived(status.decode() if status else None, now - picture.stored_at, retention)
    ]


async def main() -> int:
    """Sweep once and print what was done; the exit code is 1 when Redis or S3 is away."""
    settings = Settings()
    redis = connect(settings)
    try:
        print(await sweep(redis, PictureStore(settings), settings.retention_s))
    except StoreUnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        await redis.aclose()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
