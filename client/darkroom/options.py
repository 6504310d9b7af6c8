"""What a job may ask for beside its prompt. A test holds it against the service's description."""

from typing import Any, Literal, NotRequired, TypedDict


class Webhook(TypedDict):
    """Whom the service tells what happens to a job."""

    #: An http(s) address that takes a POST.
    url: str
    #: By default the three ways in which a job ends.
    events: NotRequired[list[Literal["job.running", "job.succeeded", "job.failed", "job.canceled"]]]


class Options(TypedDict, total=False):
    """The fields of the service's `JobRequest`; what is left out takes the model's default."""

    #: What the picture should not show.
    negative_prompt: str
    #: A name that `models()` lists.
    model: str
    #: Pixels.
    width: int
    height: int
    #: Denoising steps, for models that denoise.
    steps: int
    #: The pull towards the prompt; 1 and below turn guidance off.
    guidance_scale: float
    scheduler: str
    #: How freely tokens are drawn, and among which; for models that draw tokens.
    temperature: float
    top_p: float
    top_k: int
    #: How many pictures.
    images: int
    #: Picture i is made from seed + i.
    seed: int
    output_format: Literal["png", "webp", "jpeg"]
    #: How close JPEG and WebP come to the picture, from 1 to 100.
    output_quality: int
    #: `batch` is for what may wait until nobody else does.
    lane: Literal["interactive", "batch"]
    #: To find the job by.
    labels: dict[str, str]
    #: To find with the job again.
    metadata: dict[str, Any]
    webhook: Webhook


class Wanted(TypedDict, total=False):
    """Which jobs a list holds; what is left out makes no difference."""

    status: Literal["queued", "running", "succeeded", "failed", "canceled"]
    model: str
    #: `name:value`
    label: str
    #: A batch's id.
    batch: str
    #: RFC 3339.
    created_from: str
    created_before: str
