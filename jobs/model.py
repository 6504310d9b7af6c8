"""What a job is: the wire schema, with its limits, and the states it passes through."""

import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from jobs.text import PlainText
from jobs.webhooks.model import Webhook

#: JSON numbers are exact up to here in every client (RFC 8259, section 6).
MAX_SEED = 2**53 - 1
#: Pictures of one job.
MAX_IMAGES = 16
#: Jobs of one batch.
MAX_BATCH = 1_000
#: Labels of one job, and the size of its metadata as JSON.
MAX_LABELS, MAX_METADATA_BYTES = 16, 4_096
#: Where JPEG's and WebP's loss stops being seen.
DEFAULT_QUALITY = 95
#: A job's id: a version 7 UUID in hex, so that ids sort by the time they were made (RFC 9562).
JOB_ID_PATTERN = "^[0-9a-f]{32}$"


class JobStatus(StrEnum):
    """Where a job stands."""

    #: It waits its turn.
    QUEUED = "queued"
    #: A worker holds its lease and advances its images.
    RUNNING = "running"
    #: Every picture is stored.
    SUCCEEDED = "succeeded"
    #: It will never have pictures; `error` says why.
    FAILED = "failed"
    #: A client asked for it to stop.
    CANCELED = "canceled"

    @property
    def finished(self) -> bool:
        return not TRANSITIONS[self]


#: From each state, the states that may follow. A lost lease takes a job from running to queued.
TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.CANCELED}),
    JobStatus.RUNNING: frozenset(
        {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.QUEUED}
    ),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELED: frozenset(),
}


def states_before(status: JobStatus) -> frozenset[JobStatus]:
    """The states from which `status` may be reached."""
    return frozenset(state for state, following in TRANSITIONS.items() if status in following)


class Lane(StrEnum):
    """How soon a job is wanted. A worker takes no job of a lane while an earlier lane has one."""

    #: Somebody waits for it.
    INTERACTIVE = "interactive"
    #: It may wait until nobody else does.
    BATCH = "batch"


class OutputFormat(StrEnum):
    """How a picture is encoded."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"

    @property
    def content_type(self) -> str:
        return f"image/{self.value}"


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("a prompt has at least one character that is not a space")
    return text


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        size_bytes = len(json.dumps(metadata, allow_nan=False))
    except ValueError:
        # Python reads NaN and Infinity, and no other JSON parser would (RFC 8259, section 6).
        raise ValueError("metadata holds a number that JSON does not have") from None
    if size_bytes > MAX_METADATA_BYTES:
        raise ValueError(f"metadata takes at most {MAX_METADATA_BYTES} bytes as JSON")
    return metadata


Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,63}$")]
LabelValue = Annotated[PlainText, StringConstraints(max_length=255)]


class JobRequest(BaseModel):
    """What a client asks for. What is left out takes the model's default."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {"prompt": "a red circle on a blue background"},
                {
                    "prompt": "a small green star above a yellow square",
                    "images": 4,
                    "steps": 20,
                    "guidance_scale": 4.0,
                    "seed": 7,
                    "output_format": "webp",
                },
            ]
        },
    )

    prompt: Annotated[PlainText, AfterValidator(_not_blank)] = Field(
        min_length=1, max_length=2_000, description="What the picture should show."
    )
    negative_prompt: PlainText = Field(
        "", max_length=2_000, description="What the picture should not show."
    )
    model: str | None = Field(
        None, max_length=64, description="A name from `GET /v1/models`; the first one by default."
    )
    width: int | None = Field(
        None, ge=8, le=4_096, description="Pixels, within the model's limits."
    )
    height: int | None = Field(
        None, ge=8, le=4_096, description="Pixels, within the model's limits."
    )
    steps: int | None = Field(
        None,
        ge=1,
        le=1_000,
        description="Denoising steps, within the model's limit; for models that denoise.",
    )
    guidance_scale: float | None = Field(
        None,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="How strongly the picture is pulled towards the prompt "
        "(classifier-free guidance); 1 and below turn guidance off.",
    )
    scheduler: str | None = Field(
        None, max_length=64, description="A scheduler of the model; its own by default."
    )
    temperature: float | None = Field(
        None,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="How freely tokens are drawn; 0 takes the likeliest. For models that draw "
        "tokens, as the next two.",
    )
    top_p: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Draw among the likeliest tokens that together reach this probability.",
    )
    top_k: int | None = Field(
        None, ge=0, le=65_536, description="Draw among so many of the likeliest tokens; 0 is all."
    )
    images: int = Field(1, ge=1, le=MAX_IMAGES, description="How many pictures.")
    seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="Picture i is made from seed + i; a random one by default.",
    )
    output_format: OutputFormat = OutputFormat.PNG
    output_quality: int = Field(
        DEFAULT_QUALITY,
        ge=1,
        le=100,
        description="How close JPEG and WebP come to the picture; PNG always is the picture.",
    )
    lane: Lane = Field(
        Lane.INTERACTIVE,
        description="`batch` jobs start when no `interactive` one waits for the model.",
    )
    labels: dict[Label, LabelValue] = Field(
        {}, max_length=MAX_LABELS, description="Names and values to find the job by."
    )
    metadata: Annotated[dict[str, Any], AfterValidator(_small)] = Field(
        {}, description="Whatever the client wants to find with the job again."
    )
    webhook: Webhook | None = Field(None, description="Whom to tell what happens to the job.")


class AdmittedRequest(BaseModel):
    """A request with nothing left open, as it was checked against the model's limits.

    Options that the model does not take are null, but for `steps`: every image takes some.
    """

    # Whoever logs that a record cannot be read logs no prompt.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    prompt: str
    negative_prompt: str
    model: str
    width: int
    height: int
    steps: int
    guidance_scale: float
    scheduler: str | None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    images: int
    seed: int
    output_format: OutputFormat
    output_quality: int = DEFAULT_QUALITY
    lane: Lane = Lane.INTERACTIVE
    labels: dict[str, str] = {}
    metadata: dict[str, Any] = {}
    webhook: Webhook | None = None

    @property
    def length(self) -> int:
        """What one image asks of a worker, in pixels times denoising steps."""
        return self.width * self.height * (self.steps or 1)

    @property
    def work(self) -> int:
        """What the job asks of a worker, in pixels times denoising steps."""
        return self.length * self.images


class Image(BaseModel):
    """One finished picture of a job."""

    model_config = ConfigDict(frozen=True)

    index: int = Field(ge=0, description="Which picture of the job this is, from 0.")
    seed: int = Field(description="The seed that makes this picture again on its own.")
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    content_type: str
    size_bytes: int
    sha256: str = Field(description="Of the file's bytes, in hex.")
    warnings: tuple[str, ...] = Field((), description="What the model could not honour in full.")
    flagged: tuple[str, ...] = Field((), description="What the model's safety checker found in it.")
    withheld: bool = Field(
        False, description="Whether it is all black, in the stead of one with such findings."
    )
    url: str | None = Field(
        None, description="Where to download it; signed, and valid for a short time only."
    )


class Progress(BaseModel):
    """How far a running job is, summed over its images."""

    model_config = ConfigDict(frozen=True)

    step: int = Field(ge=0)
    steps: int = Field(ge=0)
    images_per_s: float | None = Field(
        None, description="While it runs: how fast its images come, by the steps done so far."
    )


class QueuePlace(BaseModel):
    """Where a waiting job stands."""

    model_config = ConfigDict(frozen=True)

    position: int = Field(description="How many jobs of the same model start before this one.")
    workers: int = Field(description="How many workers serve the model now.")
    eta_s: float | None = Field(None, description="As in the job's estimate.")


class Estimate(BaseModel):
    """When a job will be ready, by how fast such jobs have been ending."""

    model_config = ConfigDict(frozen=True)

    eta_s: float = Field(description="Seconds from now until its pictures are there.")
    wait_s: float = Field(description="Of these, those until it starts.")
    run_s: float = Field(description="Of these, those from its start, or from now, to its end.")


class Failure(BaseModel):
    """Why a job failed."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="A word for programs.")
    detail: str = Field(description="A sentence for people.")


class Attempt(BaseModel):
    """One start of a job. A worker that stops in order and hands the job back leaves none."""

    model_config = ConfigDict(frozen=True)

    started_at: datetime
    worker: str = Field(description="The worker's host, process id and a random word.")


class Job(BaseModel):
    """A job as clients see it."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=JOB_ID_PATTERN)
    status: JobStatus
    request: AdmittedRequest
    created_at: datetime
    started_at: datetime | None = Field(None, description="When its latest attempt began.")
    finished_at: datetime | None = None
    expires_at: datetime | None = Field(
        None, description="When the record is forgotten, and its pictures deleted."
    )
    attempts: tuple[Attempt, ...] = Field(
        (), description="Every start; each but the last ended with the loss of its worker."
    )
    queue: QueuePlace | None = Field(None, description="Only while it is queued.")
    progress: Progress
    estimate: Estimate | None = Field(
        None, description="While it is unfinished, once workers are there and have ended such jobs."
    )
    images: tuple[Image, ...] = ()
    error: Failure | None = None


class Batch(BaseModel):
    """Jobs that were submitted together."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=JOB_ID_PATTERN)
    created_at: datetime
    jobs: tuple[str, ...] = Field(description="The ids of its jobs, in the order they were asked.")
    counts: dict[JobStatus, int] = Field(
        description="How many of its jobs stand where; those already forgotten are not counted."
    )
    finished: bool = Field(description="Whether all of its jobs have finished.")
