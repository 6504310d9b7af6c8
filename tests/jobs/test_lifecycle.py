"""Store, queue and leases against a model of them, on a real Redis, whatever happens in between."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs import keys
from jobs.access.model import Caller
from jobs.connection import connect
from jobs.errors import JobError, LeaseLostError, TransitionError
from jobs.lease import Lease
from jobs.model import AdmittedRequest, Failure, JobStatus, Lane
from jobs.settings import Settings
from jobs.store import JobStore

MODEL, WORKER = "shapes-sd", "here:1:abc"
FAILURE = Failure(type="internal-error", detail="it broke")
MAX_ATTEMPTS = 3
LANES = {Lane.INTERACTIVE: -(2**51), Lane.BATCH: -(2**50)}


@dataclass
class Expected:
    """What a job should be, by a model that knows neither Redis nor Lua."""

    job_id: str
    tenant: str
    lane: Lane
    units: int
    place: int
    status: JobStatus = JobStatus.QUEUED
    holder: Lease | None = None
    #: Its lease has run out and nobody has noticed yet.
    is_lapsed: bool = False
    #: The queue has no entry of it.
    is_lost: bool = False
    attempts: int = 0

    @property
    def is_waiting(self) -> bool:
        """In line at its own place, whether or not a silent holder may still come back."""
        return self.status is JobStatus.QUEUED or self.is_put_back

    is_put_back: bool = False


@dataclass
class Line:
    """Start-time fair queueing, written down once more and independently."""

    served: dict[Lane, int] = field(default_factory=dict)
    ends: dict[tuple[Lane, str], int] = field(default_factory=dict)

    def join(self, lane: Lane, tenant: str, units: int) -> int:
        begin = max(LANES[lane], self.served.get(lane, LANES[lane]))
        place = max(begin, self.ends.get((lane, tenant), begin))
        self.ends[lane, tenant] = place + units
        return place

    def serve(self, lane: Lane, place: int) -> None:
        self.served[lane] = max(place, self.served.get(lane, place))

    def leave(self, lane: Lane, tenant: str, units: int) -> None:
        if self.ends[lane, tenant] > self.served.get(lane, LANES[lane] - 1):
            self.ends[lane, tenant] -= units


class Lifecycle(RuleBasedStateMachine):
    """Each rule is one thing that may happen; the invariants hold after every one of them."""

    jobs = Bundle("jobs")
    leases = Bundle("leases")
    settings_: Settings
    request: AdmittedRequest

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.redis = connect(self.settings_)
        # Long enough that no lease lapses but by its rule.
        chosen = {"lease_s": 600, "max_attempts": MAX_ATTEMPTS}
        self.store = JobStore(self.redis, self.settings_.model_copy(update=chosen))
        self.run(self.redis.flushall())
        self.expected: dict[str, Expected] = {}
        self.line = Line()

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    # -- what may happen ---------------------------------------------------------------------------

    @rule(
        target=jobs,
        tenant=st.sampled_from(("ann", "bob")),
        lane=st.sampled_from(Lane),
        units=st.integers(1, 5),
    )
    def submit(self, tenant: str, lane: Lane, units: int) -> Expected:
        # 256 x 256 pixels are one unit a step.
        changes = {"width": 256, "height": 256, "steps": units, "lane": lane}
        request = self.request.model_copy(update=changes)
        job = self.run(self.store.submit(request, caller=Caller(id=tenant, tenant=tenant)))
        place = self.line.join(lane, tenant, units)
        self.expected[job.id] = Expected(job.id, tenant, lane, units, place)
        return self.expected[job.id]

    @rule(target=leases)
    def hand_out(self) -> Any:
        """What arq gives a free worker: the first entry that is due."""
        due = self.run(self.redis.zrangebyscore(keys.queue(MODEL), "-inf", time.time() * 1000))
        if not due:
            return multiple()
        job = self.expected[due[0].decode()]
        waiting = [other for other in self.expected.values() if self.is_in_line(other)]
        if waiting:
            assert job is min(waiting, key=lambda other: (other.place, other.job_id))
        return self.claim(job)

    @rule(target=leases, job=jobs)
    def claim(self, job: Expected) -> Any:
        """Also of what arq hands out twice."""
        claimed = self.run(self.store.claim(job.job_id, MODEL, WORKER))
        is_live = job.status is JobStatus.RUNNING and not (
            job.is_lapsed or job.is_put_back or job.is_lost
        )
        if job.status.finished or is_live:
            assert claimed is None
            return multiple()
        job.is_lapsed = job.is_put_back = job.is_lost = False
        self.line.serve(job.lane, job.place)
        if job.attempts == MAX_ATTEMPTS:
            assert claimed is None
            job.status, job.holder = JobStatus.FAILED, None
            return multiple()
        job.attempts += 1
        job.status, job.holder = JobStatus.RUNNING, claimed[1]
        return job, claimed[1]

    @rule(held=leases)
    def report(self, held: tuple[Expected, Lease]) -> None:
        job, lease = held
        if self.holds(job, lease):
            self.run(self.store.report(lease, 1))
            job.is_lapsed = job.is_put_back = job.is_lost = False
        else:
            with pytest.raises(LeaseLostError):
                self.run(self.store.report(lease, 1))

    @rule(held=leases, outcome=st.sampled_from((JobStatus.SUCCEEDED, JobStatus.FAILED)))
    def end(self, held: tuple[Expected, Lease], outcome: JobStatus) -> None:
        job, lease = held
        is_repeated = job.status is outcome and job.holder == lease
        ends = {
            JobStatus.SUCCEEDED: lambda: self.store.succeed(lease, []),
            JobStatus.FAILED: lambda: self.store.fail(lease, FAILURE),
        }
        if self.holds(job, lease) or is_repeated:
            self.run(ends[outcome]())
            job.status = outcome
        else:
            with pytest.raises((LeaseLostError, TransitionError)):
                self.run(ends[outcome]())

    @rule(held=consumes(leases))
    def release(self, held: tuple[Expected, Lease]) -> None:
        job, lease = held
        if self.holds(job, lease):
            self.run(self.store.release(lease))
            job.status, job.holder = JobStatus.QUEUED, None
            job.attempts -= 1
            job.is_lapsed = job.is_put_back = job.is_lost = False
        else:
            with pytest.raises(JobError):
                self.run(self.store.release(lease))

    @rule(job=jobs)
    def cancel(self, job: Expected) -> None:
        if job.status.finished:
            with pytest.raises(TransitionError):
                self.run(self.store.cancel(job.job_id))
            return
        if job.status is JobStatus.QUEUED:
            self.line.leave(job.lane, job.tenant, job.units)
        self.run(self.store.cancel(job.job_id))
        job.status = JobStatus.CANCELED

    @rule(job=jobs)
    def fall_silent(self, job: Expected) -> None:
        """The holder is killed, hangs or is cut off, and its lease runs out."""
        is_live = not (job.is_lapsed or job.is_put_back or job.is_lost)
        if job.status is JobStatus.RUNNING and is_live:
            past_ms = time.time() * 1000 - 10
            self.run(self.redis.zadd(keys.queue(MODEL), {job.job_id: past_ms}, xx=True))
            self.run(self.redis.delete(keys.in_progress(job.job_id)))
            job.is_lapsed = True

    @rule(target=leases, job=jobs)
    def overtake(self, job: Expected) -> Any:
        """The holder falls silent, and another worker takes the job at once."""
        self.fall_silent(job)
        return self.claim(job)

    @rule(job=jobs)
    def lose_the_entry(self, job: Expected) -> None:
        """arq's own finish, by a worker that does not know better."""
        self.run(self.redis.zrem(keys.queue(MODEL), job.job_id))
        self.run(self.redis.delete(keys.definition(job.job_id), keys.in_progress(job.job_id)))
        job.is_lost = not job.status.finished

    @precondition(lambda self: self.expected)
    @rule()
    def sweep(self) -> None:
        missing = [
            job
            for job in self.expected.values()
            if not job.status.finished and (job.is_lapsed or job.is_lost)
        ]
        assert self.run(self.store.sweep(MODEL)) == len(missing)
        for job in missing:
            job.is_put_back = job.status is JobStatus.RUNNING
            job.is_lapsed = job.is_lost = False

    # -- what holds all the time -------------------------------------------------------------------

    @invariant()
    def every_job_is_as_expected(self) -> None:
        for job in self.expected.values():
            seen = self.run(self.store.get(job.job_id))
            assert (seen.status, len(seen.attempts)) == (job.status, job.attempts)

    @invariant()
    def every_unfinished_job_is_counted_and_in_the_queue_unless_it_was_lost(self) -> None:
        unfinished = [job for job in self.expected.values() if not job.status.finished]
        counted = self.run(self.redis.smembers(keys.unfinished(MODEL)))
        assert {job_id.decode() for job_id in counted} == {job.job_id for job in unfinished}
        load = int(self.run(self.redis.get(keys.load(MODEL))) or 0)
        assert load == sum(job.units for job in unfinished) * 2**16
        queued = {
            job_id.decode() for job_id in self.run(self.redis.zrange(keys.queue(MODEL), 0, -1))
        }
        assert queued == {job.job_id for job in unfinished if not job.is_lost}

    @invariant()
    def the_unfinished_jobs_of_each_key_are_counted(self) -> None:
        unfinished = [job.tenant for job in self.expected.values() if not job.status.finished]
        counted = self.run(self.redis.hgetall(keys.UNFINISHED_OF_KEYS))
        assert {key.decode(): int(count) for key, count in counted.items()} == Counter(unfinished)

    @invariant()
    def waiting_jobs_stand_where_fair_queueing_puts_them(self) -> None:
        line = self.run(self.redis.zrangebyscore(keys.queue(MODEL), "-inf", "(0", withscores=True))
        waiting = [job for job in self.expected.values() if self.is_in_line(job)]
        waiting.sort(key=lambda job: (job.place, job.job_id))
        assert [(job_id.decode(), score) for job_id, score in line] == [
            (job.job_id, job.place) for job in waiting
        ]

    def is_in_line(self, job: Expected) -> bool:
        is_unfinished = not job.status.finished
        return is_unfinished and job.is_waiting and not job.is_lost and not job.is_lapsed

    def holds(self, job: Expected, lease: Lease) -> bool:
        return job.status is JobStatus.RUNNING and job.holder == lease

    def teardown(self) -> None:
        """Whatever has happened, workers that work on bring every job to one end."""
        self.run(self.store.sweep(MODEL))
        while self.run(self.redis.zcard(keys.queue(MODEL))):
            (head,) = self.run(self.redis.zrange(keys.queue(MODEL), 0, 0))
            self.run(self.redis.zadd(keys.queue(MODEL), {head: 1}))
            if claimed := self.run(self.store.claim(head.decode(), MODEL, WORKER)):
                self.run(self.store.succeed(claimed[1], []))
        for job in self.expected.values():
            assert self.run(self.store.get(job.job_id)).status.finished
        self.run(self.redis.aclose())
        self.runner.close()


def test_no_course_of_events_loses_a_job_or_ends_it_twice(
    settings: Settings, request_: AdmittedRequest
) -> None:
    Lifecycle.settings_, Lifecycle.request = settings, request_
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Lifecycle,
        settings=hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None),
    )
