"""What happens to a job, told as it happens."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from darkroom.model import Answer, Image, Job, Progress, QueuePlace
from darkroom.sse import Message, StreamError


@dataclass(frozen=True, kw_only=True)
class Running(Answer):
    """A worker has started an attempt at the job."""

    #: Counted from 1; above that, earlier workers were lost.
    attempt: int
    worker: str


@dataclass(frozen=True, kw_only=True)
class Preview(Answer):
    """A small picture of what can be seen of an image so far."""

    index: int
    step: int
    content_type: str
    #: The file's bytes.
    data: bytes

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> "Preview":
        return super().read({**data, "data": base64.b64decode(data["data"])})


#: A place in the queue, a start, how far it is, a preview, a finished picture, and in the end the
#: job itself.
Event = QueuePlace | Running | Progress | Preview | Image | Job

#: By the names that the service gives them.
KINDS: Final[Mapping[str, type[Event]]] = {
    "queued": QueuePlace,
    "running": Running,
    "progress": Progress,
    "preview": Preview,
    "image": Image,
    "end": Job,
}
_NAMES: Final = {kind: name for name, kind in KINDS.items()}


def name_of(event: Event) -> str:
    """What the service calls it."""
    return _NAMES[type(event)]


def event_of(message: Message) -> Event | None:
    """An event as the service sends it; None for the kinds of newer services.

    Raises:
        StreamError: it is not what its name says.
    """
    kind = KINDS.get(message.name)
    try:
        return kind.read(json.loads(message.data)) if kind else None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise StreamError(f"this is no event of kind {message.name!r}") from None


def events_of(job: Job) -> Iterator[Event]:
    """What a job tells of itself when it is merely looked at."""
    if job.queue is not None:
        yield job.queue
    if job.attempts and not job.finished:
        yield Running(attempt=len(job.attempts), worker=job.attempts[-1].worker)
    if job.status != "queued":
        yield job.progress
    yield from job.images
    if job.finished:
        yield job


class Novelty:
    """Knows what was told before, whichever way it came."""

    def __init__(self) -> None:
        self._told: dict[object, Event] = {}

    def of(self, event: Event) -> bool:
        """Whether an event is new; from now on it is not."""
        slot = _slot(event)
        was = self._told.get(slot)
        self._told[slot] = event
        # A picture's address is signed anew whenever it is asked for.
        return was is None if isinstance(event, Image) else was != event


def _slot(event: Event) -> object:
    """What an event replaces: a start ends a wait, and the other way round."""
    match event:
        case Image(index=index):
            return Image, index
        case QueuePlace() | Running():
            return "stage"
        case _:
            return type(event)
