"""Finished pictures on their way to storage, kept on disk until they are there."""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jobs.errors import JobNotFoundError, StoreUnavailableError
from jobs.model import Image
from jobs.storage import PictureStore
from jobs.store import JobStore

log = logging.getLogger("darkroom.worker")

#: Uploads at once. They have threads of their own: a storage that hangs must not stop encoding.
UPLOADS = 8
#: Seconds between two tries to reach a storage that is away: at first, and in the end.
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0
#: A file that no job has asked for is left alone for so long.
YOUNG_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A finished picture that is not stored yet."""

    image: Image
    path: Path
    #: The file's bytes, when the disk could not take them.
    content: bytes | None = None

    @property
    def is_on_disk(self) -> bool:
        return self.content is None


class Outbox:
    """A folder of pictures, one file each. Several workers of a machine may share it.

    What lies here is never made twice: not while storage is away, and not by the next worker on
    this machine when this one dies.
    """

    def __init__(self, folder: Path, limit_bytes: int, pictures: PictureStore) -> None:
        self._folder, self._limit_bytes, self._pictures = folder, limit_bytes, pictures
        self._uploads = ThreadPoolExecutor(UPLOADS, "darkroom-upload")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._uploads.shutdown(cancel_futures=True)

    def keep(self, job_id: str, image: Image, content: bytes) -> Kept:
        """Write a picture down; where disk or limit do not allow it, it stays in memory. Blocks."""
        path = self._path(job_id, image.index)
        unfinished = path.with_suffix(f".{os.getpid()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.used_bytes() + len(content) <= self._limit_bytes:
                unfinished.write_bytes(image.model_dump_json().encode() + b"\n" + content)
                unfinished.replace(path)
                return Kept(image=image, path=path)
            log.warning("the outbox is full; %s stays in memory", path.name)
        except OSError as error:
            log.warning("the outbox cannot be written (%s)", error.strerror)
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
        return Kept(image=image, path=path, content=content)

    def find(self, job_id: str, index: int) -> Kept | None:
        """A picture that an earlier attempt on this machine left here. Blocks."""
        path = self._path(job_id, index)
        try:
            description, _, content = path.read_bytes().partition(b"\n")
            image = Image.model_validate_json(description)
        except (OSError, ValueError):
            return None
        is_whole = hashlib.sha256(content).hexdigest() == image.sha256
        return Kept(image=image, path=path) if is_whole else None

    async def deliver(self, key: str, kept: Kept) -> None:
        """Put a picture into storage, however long that is away; to be cancelled if need be.

        Raises:
            OSError: the picture has left the disk.
        """
        loop, retry_s = asyncio.get_running_loop(), FIRST_RETRY_S
        while True:
            try:
                await loop.run_in_executor(self._uploads, self._put, key, kept)
                # Not by the same thread: it may outlive the attempt that waited for it, and the
                # next one looks for the picture here.
                return await loop.run_in_executor(self._uploads, _forget, kept.path)
            except StoreUnavailableError as error:
                if retry_s == FIRST_RETRY_S:
                    log.warning("%s; the picture is kept and tried again", error)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)

    def _put(self, key: str, kept: Kept) -> None:
        # Read anew for each try, so that what waits needs no memory.
        content = kept.content or kept.path.read_bytes().partition(b"\n")[2]
        self._pictures.put(key, content, kept.image.content_type)

    def used_bytes(self) -> int:
        """What lies here now, of every worker that shares the folder. Blocks."""
        return sum(status.st_size for _, status in self._files()) if self._folder.is_dir() else 0

    async def sweep(self, jobs: JobStore) -> int:
        """Delete what finished jobs have left; says how many files.

        Raises:
            StoreUnavailableError: nobody can say now which jobs have finished.
        """
        old = await asyncio.to_thread(self._old_files)
        swept = 0
        for path in old:
            job_id, _, _ = path.stem.partition("-")
            try:
                is_wanted = not (await jobs.get(job_id)).status.finished
            except JobNotFoundError:
                is_wanted = False
            if not is_wanted:
                _forget(path)
                swept += 1
        return swept

    def _path(self, job_id: str, index: int) -> Path:
        return self._folder / f"{job_id}-{index}.picture"

    def _old_files(self) -> list[Path]:
        newest = time.time() - YOUNG_S
        try:
            return [path for path, status in self._files() if status.st_mtime < newest]
        except OSError:
            return []

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._folder.iterdir():
            # An upload that ends meanwhile takes its file away.
            with suppress(FileNotFoundError):
                yield path, path.stat()


def _forget(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
