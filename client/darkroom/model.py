"""What the service answers with. A test holds these against its OpenAPI description."""

from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Read from JSON by field name; fields of newer services are passed over."""

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


@dataclass(frozen=True, kw_only=True)
class Image(Answer):
    """One finished picture."""

    index: int
    seed: int
    #: Pixels.
    width: int
    height: int
    content_type: str
    size_bytes: int
    sha256: str
    warnings: tuple[str, ...] = ()
    #: Valid for a short time; ask for the job again to get a new one.
    url: str | None = None

    @property
    def suffix(self) -> str:
        """`.png`, `.webp` or `.jpeg`."""
        return "." + self.content_type.removeprefix("image/")


@dataclass(frozen=True, kw_only=True)
class Progress(Answer):
    """How far a job is, summed over its images."""

    step: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class QueuePlace(Answer):
    """Where a waiting job stands, and how many workers serve its model."""

    position: int
    workers: int


@dataclass(frozen=True, kw_only=True)
class Failure(Answer):
    """Why a job failed."""

    type: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Fault(Answer):
    """A field of a refused request, and the limit it breaks."""

    field: str
    detail: str
    limit: Any = None


@dataclass(frozen=True, kw_only=True)
class Attempt(Answer):
    """A start of a job; each but the last one ended with the loss of its worker."""

    #: RFC 3339.
    started_at: str
    worker: str


@dataclass(frozen=True, kw_only=True)
class Job(Answer):
    """A job, as it stood when it was asked for."""

    id: str
    #: queued, running, succeeded, failed or canceled
    status: str
    #: The request with every default filled in.
    request: dict[str, Any]
    #: RFC 3339.
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    #: When the record is forgotten and the pictures are deleted.
    expires_at: str | None = None
    attempts: tuple[Attempt, ...] = ()
    queue: QueuePlace | None = None
    progress: Progress
    images: tuple[Image, ...] = ()
    error: Failure | None = None

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        nested = {
            "progress": Progress.read(data["progress"]),
            "attempts": tuple(Attempt.read(attempt) for attempt in data.get("attempts", ())),
            "images": tuple(Image.read(image) for image in data.get("images", ())),
            "queue": QueuePlace.read(data["queue"]) if data.get("queue") else None,
            "error": Failure.read(data["error"]) if data.get("error") else None,
        }
        return super().read({**data, **nested})

    @property
    def finished(self) -> bool:
        return self.status in ("succeeded", "failed", "canceled")


@dataclass(frozen=True, kw_only=True)
class Model(Answer):
    """A model on offer, and how many workers serve it now."""

    name: str
    title: str
    family: str
    licence: str
    size: dict[str, Any]
    steps: dict[str, Any]
    guidance_scale: dict[str, Any]
    schedulers: tuple[str, ...]
    workers: int
