"""What the service answers with. A test holds these against its OpenAPI description."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Read from JSON by field name; fields of newer services are passed over."""

    #: Which fields hold an answer, or a list of them.
    NESTED: ClassVar[Mapping[str, type["Answer"]]] = {}

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        known = {field.name for field in fields(cls)} & set(data)
        return cls(**{name: _read(data[name], cls.NESTED.get(name)) for name in known})


def _read(value: Any, kind: type[Answer] | None) -> Any:
    match value:
        case list():
            return tuple(_read(item, kind) for item in value)
        case dict() if kind is not None:
            return kind.read(value)
        case _:
            return value


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
    #: Of the file's bytes, in hex.
    sha256: str
    warnings: tuple[str, ...] = ()
    #: What the model's safety checker found, and whether a black picture stands for it.
    flagged: tuple[str, ...] = ()
    withheld: bool = False
    #: Valid for a short time; ask for the job again to get a new one.
    url: str | None = None

    @property
    def suffix(self) -> str:
        """`.png`, `.webp` or `.jpeg`."""
        return "." + self.content_type.removeprefix("image/")

    @property
    def remarks(self) -> tuple[str, ...]:
        """What whoever asked for it should know, as sentences."""
        if not self.flagged:
            return self.warnings
        done = "the picture is withheld" if self.withheld else "the picture is flagged"
        return (*self.warnings, f"{done}: {', '.join(self.flagged)}")


@dataclass(frozen=True, kw_only=True)
class Progress(Answer):
    """How far a job is, summed over its images."""

    step: int
    steps: int
    #: While it runs, and not what makes one progress another.
    images_per_s: float | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class QueuePlace(Answer):
    """Where a waiting job stands, and how many workers serve its model."""

    position: int
    workers: int
    #: Seconds until its pictures should be there, once that is known; it makes no other place.
    eta_s: float | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Estimate(Answer):
    """When an unfinished job will be ready, by how fast such jobs have been ending."""

    #: Seconds from now until its pictures are there: those until it starts, and those it runs.
    eta_s: float
    wait_s: float
    run_s: float


@dataclass(frozen=True, kw_only=True)
class Failure(Answer):
    """Why a job failed."""

    #: A word for programs.
    type: str
    #: A sentence for people.
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

    NESTED: ClassVar = {
        "attempts": Attempt,
        "queue": QueuePlace,
        "progress": Progress,
        "estimate": Estimate,
        "images": Image,
        "error": Failure,
    }

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
    estimate: Estimate | None = None
    images: tuple[Image, ...] = ()
    error: Failure | None = None

    @property
    def finished(self) -> bool:
        return self.status in ("succeeded", "failed", "canceled")


@dataclass(frozen=True, kw_only=True)
class JobPage(Answer):
    """Some jobs, newest first; few or none where few of many were wanted."""

    NESTED: ClassVar = {"jobs": Job}

    jobs: tuple[Job, ...]
    #: What to ask for the next page with.
    next: str | None


@dataclass(frozen=True, kw_only=True)
class Batch(Answer):
    """Jobs that were submitted together."""

    id: str
    #: RFC 3339.
    created_at: str
    #: The ids of its jobs, in the order they were asked for.
    jobs: tuple[str, ...]
    #: How many of its jobs are in which status.
    counts: dict[str, int]
    finished: bool


@dataclass(frozen=True, kw_only=True)
class Model(Answer):
    """A model on offer, what it takes, and how many workers serve it now."""

    name: str
    title: str
    family: str
    licence: str
    size: dict[str, Any]
    #: What a job may choose beside its prompt, size and seed.
    options: tuple[str, ...]
    steps: dict[str, Any]
    guidance_scale: dict[str, Any]
    #: These three only where tokens are drawn.
    temperature: dict[str, Any] | None = None
    top_p: dict[str, Any] | None = None
    top_k: dict[str, Any] | None = None
    schedulers: tuple[str, ...]
    workers: int


@dataclass(frozen=True, kw_only=True)
class ModelList(Answer):
    """The models on offer; the first is the default."""

    NESTED: ClassVar = {"models": Model}

    models: tuple[Model, ...]
