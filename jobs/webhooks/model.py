"""What a client may ask to be told of, and what became of telling it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, TypeAdapter

MAX_URL_LENGTH: Final = 2_048
_URL: Final = TypeAdapter(HttpUrl)


class WebhookEvent(StrEnum):
    """What a webhook can tell: `job.` and the state that the job has entered."""

    #: A worker has started it, for the first time.
    RUNNING = "job.running"
    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"


def _plain_http(address: str) -> str:
    """An address as every parser reads it: its host in lower case, without odd notations.

    Raises:
        ValueError: it is no http(s) address, or names a user.
    """
    url = _URL.validate_python(address)
    if url.username is not None or url.password is not None:
        raise ValueError("an address for webhooks holds no user and no password")
    normal = str(url)
    if len(normal) > MAX_URL_LENGTH:
        raise ValueError(f"an address has at most {MAX_URL_LENGTH} characters once it is encoded")
    return normal


class Webhook(BaseModel):
    """Where a client wants to be told what happens to its job."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"url": "https://example.com/hooks/darkroom"}]},
    )

    url: Annotated[str, AfterValidator(_plain_http)] = Field(
        max_length=MAX_URL_LENGTH,
        json_schema_extra={"format": "uri"},
        description="An http(s) address that takes a POST; not one of a private network, unless "
        "the service allows it.",
    )
    events: tuple[WebhookEvent, ...] = Field(
        (WebhookEvent.SUCCEEDED, WebhookEvent.FAILED, WebhookEvent.CANCELED),
        min_length=1,
        max_length=len(WebhookEvent),
        description="What to tell of.",
    )


class Outcome(StrEnum):
    """What became of a delivery."""

    #: It will be tried, or tried again.
    PENDING = "pending"
    #: The receiver has answered 2xx.
    DELIVERED = "delivered"
    #: The receiver has answered 410, or has not taken it at any attempt.
    ABANDONED = "abandoned"


class DeliveryAttempt(BaseModel):
    """One POST, and what came of it."""

    model_config = ConfigDict(frozen=True)

    ended_at: datetime
    status_code: int | None = Field(None, description="What the receiver answered, if it did.")
    error: str | None = Field(None, description="Why it does not count as delivered.")


class Delivery(BaseModel):
    """One event of a job, on its way to the client."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The `webhook-id`: the same at every attempt.")
    event: WebhookEvent
    outcome: Outcome = Outcome.PENDING
    created_at: datetime = Field(description="When the event happened.")
    next_at: datetime | None = Field(None, description="When the next attempt is due.")
    attempts: tuple[DeliveryAttempt, ...] = ()
