"""A caller, and the API key that says who it is and what it may do."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_serializer

from jobs.webhooks.model import Webhook

#: Whose a job is when nobody in particular asked.
DEFAULT_TENANT: Final = "default"

Tenant = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,63}$")]
Name = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Scope(StrEnum):
    """What a key may do."""

    #: Look at jobs, follow them, fetch their pictures.
    JOBS_READ = "jobs:read"
    #: Submit jobs, cancel them, delete them.
    JOBS_WRITE = "jobs:write"
    #: Read what the service tells of itself to operators.
    METRICS_READ = "metrics:read"


#: What users of the service need.
USER_SCOPES: Final = frozenset({Scope.JOBS_READ, Scope.JOBS_WRITE})


class Limits(BaseModel):
    """How much a key may ask for; what is None has no limit."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    jobs_per_minute: int | None = Field(None, ge=1, le=1_000_000)
    images_per_day: int | None = Field(None, ge=1, le=1_000_000_000)
    unfinished_jobs: int | None = Field(None, ge=1, le=1_000_000)

    @property
    def are_there(self) -> bool:
        """Whether there is any."""
        return self != NO_LIMITS


NO_LIMITS: Final = Limits()


class Caller(BaseModel):
    """Who asks, as routes and the store see it."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    #: The key's public half, which may be logged; empty without a key.
    id: str = ""
    tenant: Tenant = DEFAULT_TENANT
    scopes: frozenset[Scope] = USER_SCOPES
    limits: Limits = NO_LIMITS
    #: Whom to tell of jobs that name nobody themselves.
    webhook: Webhook | None = None
    #: What webhooks of this key's jobs are signed with; the service's own secret when empty.
    webhook_secret: SecretStr = SecretStr("")

    @property
    def can_sign(self) -> bool:
        return bool(self.webhook_secret.get_secret_value())


#: Whoever needs no key.
ANYBODY: Final = Caller(scopes=frozenset(Scope))


class ApiKey(Caller):
    """A key as it is kept: all of it but the secret, which is there as a hash only."""

    name: Name = ""
    created_at: datetime
    revoked_at: datetime | None = None
    #: SHA-256 of the secret half, in hex.
    secret_sha256: str = Field(repr=False)

    @property
    def is_valid(self) -> bool:
        return self.revoked_at is None

    @field_serializer("webhook_secret", when_used="json")
    def _kept(self, secret: SecretStr) -> str:
        """Signing needs the secret itself, so unlike the key's own it cannot be kept as a hash."""
        return secret.get_secret_value()
