"""What happens to a job, as a Redis Stream for each: whoever was cut off goes on where he was."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from arq.connections import ArqRedis

from jobs import keys
from jobs.connection import redis_errors

#: Before the first event of any stream.
BEGINNING = "0-0"


class EventKind(StrEnum):
    """What can happen to a job."""

    #: It waits its turn, for the first time or again.
    QUEUED = "queued"
    #: A worker has started an attempt: `attempt`, `worker`.
    RUNNING = "running"
    #: Its images have advanced: `step`, of all images together.
    PROGRESS = "progress"
    #: One of its images can be seen in small: `index`, `step`, `content_type`, `data` (base64).
    PREVIEW = "preview"
    #: One of its pictures is stored: an `Image`.
    IMAGE = "image"
    #: It has finished; the record says how.
    END = "end"


_KINDS: Final = frozenset(kind.encode() for kind in EventKind)


@dataclass(frozen=True)
class Event:
    """One thing that happened to a job."""

    #: Where in the stream it stands: Unix time in ms, a dash, and a number.
    id: str
    kind: EventKind
    data: dict[str, Any]


async def read(
    redis: ArqRedis, job_id: str, after: str = BEGINNING, count: int = 50
) -> list[Event]:
    """The next events of a job, in order; none also once the stream has expired.

    Args:
        after: the id of the last event that is known already.

    What only a newer version can tell is passed over.
    """
    while True:
        with redis_errors():
            entries = await redis.xrange(keys.events(job_id), min=f"({after}", count=count)
        known = [
            _event(event_id, fields) for event_id, fields in entries if fields[b"kind"] in _KINDS
        ]
        if known or not entries:
            return known
        after = entries[-1][0].decode()


async def latest(redis: ArqRedis, job_id: str, kind: EventKind, among: int = 50) -> Event | None:
    """The newest event of a kind among the last ones of a job."""
    with redis_errors():
        entries = await redis.xrevrange(keys.events(job_id), count=among)
    found = (fields for fields in entries if fields[1][b"kind"].decode() == kind)
    newest = next(found, None)
    return _event(*newest) if newest else None


def _event(event_id: bytes, fields: dict[bytes, bytes]) -> Event:
    kind = EventKind(fields[b"kind"].decode())
    return Event(event_id.decode(), kind, json.loads(fields[b"data"]))


def unix_ms(event_id: str) -> int:
    """When an event happened."""
    return int(event_id.partition("-")[0])


def id_at(moment: datetime) -> str:
    """The id of an event of that time."""
    return f"{round(moment.timestamp() * 1000)}-0"
