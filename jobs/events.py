"""What happens to a job, as a Redis Stream for each: whoever was cut off goes on where he was."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

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
    """
    with redis_errors():
        entries = await redis.xrange(keys.events(job_id), min=f"({after}", count=count)
    return [
        Event(event_id.decode(), EventKind(fields[b"kind"].decode()), json.loads(fields[b"data"]))
        for event_id, fields in entries
    ]


def unix_ms(event_id: str) -> int:
    """When an event happened."""
    return int(event_id.partition("-")[0])
