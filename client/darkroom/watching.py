"""Following a job to its end: by its events, or, where those do not come through, by asking."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from darkroom.errors import UnreachableError, WaitingError
from darkroom.events import Event, Novelty, event_of, events_of
from darkroom.exchange import (
    PASSING,
    Call,
    Flow,
    Hear,
    Listen,
    Pause,
    Reply,
    Tell,
    call,
    pause_s,
    refusal,
)
from darkroom.model import Job
from darkroom.sse import Decoder, StreamError

#: The service sends at least a comment more often than this, so a longer silence is a cut.
SILENCE_S: Final = 45.0
#: How long the service is asked to hold its answer while nothing changes.
HOLD_S: Final = 30.0
#: How long an answer may be under way.
ANSWER_S: Final = 10.0
#: Between two looks at a job when the service does not hold its answers: unless it says, and most.
POLL_S, LONGEST_POLL_S = 0.2, 5.0
#: A job is safe with the service, so its waiting clients outlast a restart: about a minute.
PATIENCE: Final = 15


def job_path(job_id: str) -> str:
    """Where a job is, whatever its id is made of."""
    return f"/v1/jobs/{quote(job_id, safe='')}"


def watch(job_id: str, *, is_live: bool, timeout_s: float | None) -> Flow[Job]:
    """Tell what happens to a job until it ends, and end with it.

    Raises:
        RefusedError: there is no such job.
        UnreachableError: nothing answers, for about a minute.
        WaitingError: `timeout_s` is over.
    """
    waiting = _Waiting(job_id, timeout_s)
    job = (yield from _listen(waiting)) if is_live else None
    return job or (yield from _poll(waiting, is_live))


@dataclass
class _Waiting:
    """One wait: for what, how long, and what was told already."""

    job_id: str
    timeout_s: float | None
    novelty: Novelty = field(default_factory=Novelty)
    begun_s: float = field(default_factory=time.monotonic)

    def left(self, at_most_s: float) -> float:
        """
        Raises:
            WaitingError: nothing is left.
        """
        if self.timeout_s is None:
            return at_most_s
        left_s = self.begun_s + self.timeout_s - time.monotonic()
        if left_s <= 0:
            raise WaitingError(
                f"job {self.job_id} has not finished after {self.timeout_s:g} s; it goes on"
            )
        return min(at_most_s, left_s)

    def news(self, *events: Event) -> Iterator[Tell]:
        return (Tell(event) for event in events if self.novelty.of(event))


def _listen(waiting: _Waiting) -> Flow[Job | None]:
    """Hear the job's events to the last; None where they do not come through."""
    decoder, failures = Decoder(), 0
    while failures <= PATIENCE:
        outcome = yield Listen(_events_call(waiting, decoder.last_id))
        if isinstance(outcome, UnreachableError) or outcome.status in PASSING:
            failures += 1
        elif not outcome.is_stream:
            _check(outcome)
            return None
        else:
            decoder = Decoder(decoder.last_id)
            job, heard = yield from _hear(waiting, decoder)
            if job is not None:
                return job
            # A stream that carries nothing but silence is held back by something on the way.
            if not heard and failures:
                return None
            failures = 0 if heard else failures + 1
        yield Pause(waiting.left(pause_s(failures)))
    return None


def _events_call(waiting: _Waiting, last_id: str) -> Call:
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    return Call(
        method="GET",
        path=f"{job_path(waiting.job_id)}/events",
        headers=headers,
        read_timeout_s=waiting.left(SILENCE_S),
    )


def _check(reply: Reply) -> None:
    """Whether to go on without events: a job that ended has none left, an older service none.

    Raises:
        RefusedError: it would refuse the job itself as well.
    """
    if reply.status in (401, 403) or refusal(reply).kind == "job-not-found":
        raise refusal(reply)


def _hear(waiting: _Waiting, decoder: Decoder) -> Flow[tuple[Job | None, bool]]:
    """One connection's events: the job if they came to its end, and whether there were any."""
    heard = False
    while piece := (yield Hear()):
        try:
            for message in decoder.feed(piece):
                event = event_of(message)
                if event is None:
                    continue
                heard = True
                yield from waiting.news(event)
                if isinstance(event, Job):
                    return event, True
        except StreamError:
            break
        waiting.left(0)
    return None, heard


def _poll(waiting: _Waiting, is_live: bool) -> Flow[Job]:
    """Look at the job again and again; a service that can holds its answer until there is news."""
    etag = ""
    while True:
        hold_s = waiting.left(HOLD_S)
        asked_s = time.monotonic()
        reply = yield from call(_look(waiting.job_id, etag, hold_s), PATIENCE)
        news: list[Tell] = []
        if reply.status != 304:
            job = reply.read(Job)
            news = list(waiting.news(*events_of(job)))
            yield from news
            if job.finished:
                return job
        # With an entity tag the service answers every step, without one a change of status.
        etag = reply.headers.get("etag", "") if is_live else ""
        if not news and time.monotonic() - asked_s < hold_s / 2:
            wanted_s = reply.retry_after_s
            yield Pause(waiting.left(min(POLL_S if wanted_s is None else wanted_s, LONGEST_POLL_S)))


def _look(job_id: str, etag: str, hold_s: float) -> Call:
    return Call(
        method="GET",
        path=job_path(job_id),
        params={"wait": f"{hold_s:.3f}"},
        headers={"If-None-Match": etag} if etag else {},
        read_timeout_s=hold_s + ANSWER_S,
    )
