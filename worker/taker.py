"""arq's worker on one model's queue, with what arq lacks at its edges."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from arq.connections import ArqRedis
from arq.worker import RetryJob, Worker, func

from jobs import keys, logs, queue, wire
from jobs.connection import redis_errors
from jobs.errors import NewerRecordError, StoreUnavailableError
from jobs.model import JOB_ID_PATTERN
from jobs.settings import Settings
from jobs.signals import Ring, Signals
from jobs.tasks import is_told_to_end

log = logging.getLogger("darkroom.worker")

#: arq must never be the one to end a job: our own deadline comes first and says why.
ARQ_GRACE_S = 300.0
#: arq's count of tries is not fenced; ours is, in the record.
ARQ_NO_LIMIT = 1_000_000
#: Between two tries to reach Redis.
RETRY_S = 1.0
#: How many jobs whose pictures only wait for storage a taker holds beside those it develops.
MAX_DELIVERING = 1_024
#: How many jobs of newer versions a taker remembers.
MOST_LEFT_ALONE = 10_000

_ID = re.compile(JOB_ID_PATTERN.encode())

#: Takes a job's id and model through to its end, and calls back once only storing is left.
Develop = Callable[[str, str, Callable[[], None]], Awaitable[None]]


class Taker(Worker):
    """Takes a model's jobs from its queue as soon as they are there, through Redis's absences."""

    def __init__(
        self, settings: Settings, redis: ArqRedis, signals: Signals, model: str, develop: Develop
    ) -> None:
        async def task(ctx: dict[Any, Any], *_: object, **__: object) -> None:
            # The queue alone says which job it is, so nothing else that lies in Redis can.
            job_id: str = ctx["job_id"]
            with logs.about(job_id):
                await self._task(job_id, develop)

        super().__init__(
            functions=[func(task, name=queue.FUNCTION)],
            queue_name=keys.queue(model),
            redis_pool=redis,
            handle_signals=False,
            max_jobs=settings.worker_jobs + MAX_DELIVERING,
            # arq's own default, for the jobs that are developed at once.
            queue_read_limit=max(5 * settings.worker_jobs, 100),
            job_timeout=settings.job_timeout_s + ARQ_GRACE_S,
            keep_result=0,
            max_tries=ARQ_NO_LIMIT,
            job_serializer=wire.serialize,
            job_deserializer=wire.deserialize,
            log_results=False,
        )
        # A kill before the first renewal must not wait out the longest job.
        self.in_progress_timeout_s = settings.lease_s
        self.poll_delay_s = settings.poll_delay_s
        self._signals, self._model = signals, model
        self._ring = Ring()
        self._developing_limit = settings.worker_jobs
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._delivering: set[str] = set()
        #: What only a newer version can do.
        self._left_alone: set[bytes] = set()

    async def _task(self, job_id: str, develop: Develop) -> None:
        """What arq runs for each job."""
        try:
            await develop(job_id, self._model, lambda: self._delivering.add(job_id))
        except NewerRecordError as error:
            log.warning("%s; left to a newer worker", error)
            self._leave_alone(job_id)
        except StoreUnavailableError as error:
            log.warning("job %s will be tried again: %s", job_id, error)
            raise RetryJob from error
        finally:
            self._delivering.discard(job_id)

    async def take(self) -> None:
        """Take jobs for ever; those under way go on while Redis is away."""
        async with self._signals.on(keys.bell(self._model)) as self._ring:
            while not is_told_to_end():
                await self._take_what_is_there()
                await self._ring.wait(self.poll_delay_s)
                # A job that has just ended gives its slot back in this turn of the loop.
                await asyncio.sleep(0)

    async def _take_what_is_there(self) -> None:
        # What only waits for storage must not keep the device from working.
        self.max_jobs = self._developing_limit + min(len(self._delivering), MAX_DELIVERING)
        try:
            with redis_errors():
                await self._poll_iteration()
        except Exception as error:
            if isinstance(error, StoreUnavailableError):
                log.warning("%s; trying again", error)
            else:
                # arq raises here what its own bookkeeping of one job met: not the others' fault.
                log.exception("taking jobs of %s failed", self._model)
            await self._recount()
            await asyncio.sleep(RETRY_S)

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start those of these that may be jobs; what else lies in the queue is taken out."""
        strangers = [job_id for job_id in job_ids if not _ID.fullmatch(job_id)]
        if strangers:
            log.warning("took %d entries out of the queue that are no jobs", len(strangers))
            await self.pool.zrem(self.queue_name, *strangers)
        await super().start_jobs(
            [each for each in job_ids if each not in self._left_alone and each not in strangers]
        )

    def _leave_alone(self, job_id: str) -> None:
        """Have arq not hand it out here again, at least as long as there are not many of them."""
        if len(self._left_alone) >= MOST_LEFT_ALONE:
            self._left_alone.clear()
        self._left_alone.add(job_id.encode())

    async def run_job(self, job_id: str, score: int) -> None:
        if job_id in self._running:
            # Its lease lapsed while Redis was away: its holder is here, and will renew it.
            return
        task = asyncio.current_task()
        assert task is not None
        self._running[job_id] = task
        try:
            await super().run_job(job_id, score)
        finally:
            del self._running[job_id]
            self._ring.ring()

    async def finish_job(self, *_: object) -> None:
        """Nothing: the job store has done it, and fenced it, which arq would not.

        A job that is not finished keeps its entry, and is taken again when its lease lapses.
        """

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, let what runs go on for a while, then hand the rest back."""
        self.allow_pick_jobs = False
        running = list(self._running.values())
        if not running:
            return
        log.info("stopping: up to %.0f s for %d running jobs", grace_s, len(running))
        _, unfinished = await asyncio.wait(running, timeout=grace_s)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    async def _recount(self) -> None:
        """Give back the slots that arq took for jobs which a lost connection kept it from starting.

        Without this each loss costs slots for good, until the worker takes nothing any more.
        """
        self.job_counter = len(self._running)
        self.sem = asyncio.BoundedSemaphore(self._developing_limit + MAX_DELIVERING + 1)
        for _ in range(self.job_counter):
            await self.sem.acquire()
