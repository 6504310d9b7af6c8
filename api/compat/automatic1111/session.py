"""What AUTOMATIC1111 would keep in its one process, kept for each caller apart.

A caller is whoever asks from one address in the name of one tenant: what one does is neither shown
to another, nor stopped by it. It lies in Redis, since several API processes may serve one caller.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from api.access import Asking
from api.compat.automatic1111.settings import CHECKPOINT
from api.parts import Deps, Parts
from jobs import keys
from jobs.access.model import Caller
from jobs.connection import redis_errors
from jobs.errors import JobNotFoundError, StoreUnavailableError
from jobs.model import Job, JobStatus

#: How long a caller's options are kept after he has set one.
OPTIONS_KEPT_S = 30 * 24 * 3600


@dataclass(frozen=True)
class Session:
    """One caller's options, and what he waits for."""

    parts: Parts
    caller: Caller
    #: Where the caller asks from.
    address: str

    @property
    def name(self) -> str:
        return f"{self.caller.tenant}/{self.address}"

    @asynccontextmanager
    async def waiting_for(self, job: Job, task: str) -> AsyncIterator[None]:
        """The caller waits for a job for the length of a block, and calls it by a name.

        While Redis is away nobody is told of it, and that is all.
        """
        redis, name = self.parts.jobs.redis, keys.caller_jobs(self.name)
        with suppress(StoreUnavailableError), redis_errors():
            async with redis.pipeline() as pipe:
                pipe.hset(name, job.id, task)
                # Nobody waits for longer; what a killed process leaves behind goes then.
                pipe.expire(name, int(self.parts.settings.compat_wait_s) + 1)
                await pipe.execute()
        try:
            yield
        finally:
            with suppress(StoreUnavailableError), redis_errors():
                await cast(Awaitable[int], redis.hdel(name, job.id))

    async def tasks(self) -> list[tuple[str, Job]]:
        """What the caller waits for, by its names: running jobs first, the oldest before others."""
        with redis_errors():
            waiting = self.parts.jobs.redis.hgetall(keys.caller_jobs(self.name))
            tasks = await cast(Awaitable[dict[bytes, bytes]], waiting)
        found = []
        for job_id, task in tasks.items():
            with suppress(JobNotFoundError):
                job = await self.parts.jobs.get(job_id.decode(), tenant=self.caller.tenant)
                found.append((task.decode(), job))
        unfinished = [(task, job) for task, job in found if not job.status.finished]
        return sorted(
            unfinished, key=lambda each: (each[1].status is not JobStatus.RUNNING, each[1].id)
        )

    async def options(self) -> dict[str, str]:
        """The options that the caller has set; a model that is gone is no longer among them."""
        with redis_errors():
            stored = self.parts.jobs.redis.hgetall(keys.caller_options(self.name))
            raw = await cast(Awaitable[dict[bytes, bytes]], stored)
        options = {name.decode(): value.decode() for name, value in raw.items()}
        if options.get(CHECKPOINT) not in self.parts.catalog:
            options.pop(CHECKPOINT, None)
        return options

    async def set_options(self, changes: Mapping[str, str]) -> None:
        """Keep options, which have been checked."""
        if not changes:
            return
        name = keys.caller_options(self.name)
        with redis_errors():
            async with self.parts.jobs.redis.pipeline() as pipe:
                pipe.hset(name, mapping=dict(changes))
                pipe.expire(name, OPTIONS_KEPT_S)
                await pipe.execute()


async def _session(request: Request, parts: Deps, caller: Asking) -> Session:
    return Session(parts, caller, request.client.host if request.client else "")


CallerSession = Annotated[Session, Depends(_session)]
