"""Every setting of the service, read from `DARKROOM_*` environment variables here and only here."""

import re
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from jobs.logs import LogFormat
from jobs.webhooks.signing import secrets_in
from jobs.webhooks.targets import Guard


class Settings(BaseSettings):
    """One object for API, worker and local stack; every bound of the service is here."""

    model_config = SettingsConfigDict(
        env_prefix="DARKROOM_",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        populate_by_name=True,
        # What is wrong may be a secret.
        hide_input_in_errors=True,
    )

    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Where Redis or Valkey is: `redis://`, `rediss://` or `unix://`. May hold a password."""
    redis_timeout_s: float = Field(5.0, gt=0)
    """How long one exchange with Redis may take before it counts as gone."""

    s3_endpoint: str | None = None
    """The S3 server as API and workers reach it; empty for Amazon's own."""
    s3_public_endpoint: str | None = None
    """The S3 server as clients reach it, for presigned URLs; the endpoint above when empty."""
    s3_region: str = "us-east-1"
    """The region that signatures are made for."""
    s3_bucket: str = Field("darkroom", min_length=3, max_length=63)
    """The bucket that holds the pictures."""
    s3_access_key: SecretStr | None = None
    """The access key; empty for the machine's own role."""
    s3_secret_key: SecretStr | None = None
    """The secret key; empty for the machine's own role."""
    s3_timeout_s: float = Field(20.0, gt=0)
    """How long one exchange with S3 may take before it is tried again."""
    presigned_url_ttl_s: int = Field(900, ge=1, le=604_800)
    """How long the address of a picture works after it was handed out."""

    catalog: Path = Path("models.yaml")
    """The file that lists the models."""
    models: Annotated[tuple[str, ...], NoDecode] = ()
    """The models of the catalogue to offer (API) or to load (worker), by comma; empty means all."""

    blocklist: Path | None = None
    """A file of what no prompt may ask for, whatever its model; see `docs/models.md`."""

    host: str = "127.0.0.1"
    """The address that the API listens on."""
    port: int = Field(8420, ge=1, le=65_535)
    """The port that the API listens on."""
    allow_anonymous: bool | None = None
    """Whether the API serves whoever has no key. Empty: only whoever asks from this machine itself,
    while the API listens on a loopback address. Set it to false behind a proxy on this machine."""
    max_connections: int = Field(8_192, ge=16)
    """How many connections an API process holds; whoever comes then is told to come back."""
    max_waiters: int = Field(4_096, ge=1)
    """How many clients an API process holds or streams to at once (`wait`, events, compatible
    APIs)."""
    request_timeout_s: float = Field(60.0, gt=0)
    """How long a request may take to arrive, from its first byte to its last."""
    max_body_bytes: int = Field(2**20, ge=1_024)
    """The largest request body that is read."""
    max_picture_body_bytes: int = Field(32 * 2**20, ge=1_024)
    """The largest body where a picture is sent to be looked at (`/sdapi/v1/png-info`)."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages' scripts may call the API from a browser: `https://app.example.com`, by
    comma; none by default."""
    compat_wait_s: float = Field(3_600.0, gt=0)
    """How long the OpenAI and AUTOMATIC1111 APIs hold an answer; then the job is cancelled."""
    openai_model_aliases: Annotated[dict[str, str], NoDecode] = {}
    """Further names of models for the OpenAI API: `dall-e-3=sdxl-base,gpt-image-1=sdxl-base`."""

    max_batch_rows: int = Field(32, ge=1, le=512)
    """How many rows one forward pass has, at most; an image with guidance takes two."""
    reproducible: bool = False
    """Run equal shapes in any company, for equal bits on a GPU, at the price of some speed."""
    models_limit_bytes: int | None = Field(None, ge=1)
    """What all loaded models may take on the device; the least recently used one gives way."""
    worker_jobs: int = Field(32, ge=1, le=1_024)
    """How many jobs a worker holds at once for each model; the more, the fuller its batches."""
    poll_delay_s: float = Field(1.0, gt=0, le=10)
    """How often an idle worker looks for jobs whose bell it missed or whose holder died."""
    lease_s: float = Field(10.0, ge=1, le=600)
    """How long a job stays with a worker that has gone silent before another may take it."""
    max_attempts: int = Field(3, ge=1, le=100)
    """How often a job is started, at most, before it ends as failed."""
    job_timeout_s: float = Field(3_600.0, gt=0)
    """How long one attempt at a job may run."""
    progress_interval_s: float = Field(0.1, ge=0)
    """The shortest time between two progress reports of one job."""
    outbox: Path = Path("var/outbox")
    """Where a worker keeps finished pictures until they are stored; workers may share it."""
    outbox_max_bytes: int = Field(2**30, ge=0)
    """How much the outbox may hold; beyond it pictures stay in memory and hold up the next jobs."""
    stall_s: float = Field(600.0, gt=0)
    """How long the device may take over one step before its worker ends itself as hung."""
    drain_s: float = Field(30.0, ge=0)
    """How long a stopping worker lets its running jobs go on before it hands them back."""

    queue_max_jobs: int = Field(100_000, ge=1)
    """How many unfinished jobs a model may have; further ones are refused until some have ended."""
    queue_max_work: int = Field(10**13, ge=1)
    """How much work, in pixels times denoising steps, a model's unfinished jobs may be together."""

    picture_metadata: bool = True
    """Whether a picture's file tells how it was made: prompt, model, seed and the other options."""

    events_retention_s: int = Field(300, ge=1)
    """How long the events of a finished job can still be read."""
    retention_s: int = Field(7 * 24 * 3600, ge=60)
    """How long a finished job's record and its pictures are kept."""

    webhook_secret: SecretStr = SecretStr("")
    """What webhooks are signed with: `whsec_` and 24 to 64 bytes in base64. Several by comma while
    one replaces another; without one there are no webhooks."""
    webhook_allow: Annotated[tuple[str, ...], NoDecode] = ()
    """Host names, addresses and networks that webhooks may reach though they are not public."""
    webhook_timeout_s: float = Field(15.0, gt=0, le=60)
    """How long one attempt to deliver a webhook may take."""
    webhook_concurrency: int = Field(64, ge=1, le=1_024)
    """How many webhooks one API process delivers at once."""
    webhook_retries_s: Annotated[
        tuple[Annotated[float, Field(ge=0, le=604_800)], ...], NoDecode, Field(max_length=32)
    ] = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
    """How long after each failed attempt the next one is made; after the last there is none."""

    analytics_host: str = Field("https://eu.i.posthog.com", pattern=r"^https?://[^/]+/?$")
    """Where product analytics go: PostHog, or whatever takes its batches."""
    analytics_key: SecretStr = SecretStr("")
    """The project's key there; without one there are no analytics."""

    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """How much is logged."""
    log_format: LogFormat = LogFormat.TEXT
    """`text` for people, or `json`: one object a line, with job and trace id."""
    worker_metrics_host: str = "127.0.0.1"
    """The address that a worker's metrics and health are served on."""
    worker_metrics_port: int | None = Field(None, ge=1, le=65_535)
    """The port that a worker's metrics and health are served on; without one they are not."""
    otlp_endpoint: str | None = Field(None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """The collector that takes traces by OTLP over HTTP, such as `http://localhost:4318`; without
    one there are none. Under OpenTelemetry's own name, `OTEL_EXPORTER_OTLP_ENDPOINT`."""

    @field_validator("models", "cors_origins", "webhook_allow", "webhook_retries_s", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @property
    def serves_anybody(self) -> bool:
        """Whether there is somebody who needs no key."""
        if self.allow_anonymous is None:
            return is_loopback(self.host)
        return self.allow_anonymous

    @field_validator("openai_model_aliases", mode="before")
    @classmethod
    def _split_into_pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if not all(alias.strip() and model.strip() for alias, _, model in pairs):
            raise ValueError("write it as alias=model, by comma")
        return {alias.strip(): model.strip() for alias, _, model in pairs}

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"\*|https?://[^/\s]+", origin):
                raise ValueError(f"{origin!r} is no origin: write it as https://app.example.com")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _is_secret(cls, value: SecretStr) -> SecretStr:
        secrets_in(value.get_secret_value())
        return value

    @field_validator("webhook_allow")
    @classmethod
    def _is_allow_list(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Guard(value)
        return value


@lru_cache(maxsize=1_024)
def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine, and reached from nowhere else."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
