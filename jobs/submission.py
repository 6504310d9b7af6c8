"""Taking jobs in: one or many, atomically, once for each idempotency key, within bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic_core import to_json

from jobs import analytics, keys, metrics, queue, tracing
from jobs.access.model import Caller
from jobs.access.quotas import UNFINISHED, Quotas
from jobs.errors import (
    IdempotencyError,
    QueueFullError,
    QuotaExceededError,
    RequestOverLimitError,
    WebhookRefusedError,
)
from jobs.exchange import Exchange
from jobs.model import AdmittedRequest
from jobs.record import new_fields, new_job_id
from jobs.scripts import Scripts
from jobs.settings import Settings
from jobs.standing import Standings
from jobs.webhooks.targets import ForbiddenTargetError, Guard


@dataclass(frozen=True)
class Taken:
    """What was taken in just now, or under the same idempotency key before."""

    #: The batch's id, or else the only job's.
    id: str
    #: When it was taken in, in Unix time in ms; None when that was before.
    created_ms: int | None = None
    #: How many jobs wait before the last of these.
    ahead: int = 0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Requests that are to be taken in together."""

    requests: Sequence[AdmittedRequest]
    caller: Caller
    idempotency_key: str
    fingerprint: str
    batch_id: str | None

    @property
    def idempotency(self) -> str:
        """Where it is kept what the idempotency key was used for; empty without one."""
        name = keys.idempotency(self.caller.tenant, self.idempotency_key)
        return name if self.idempotency_key else ""


class Submission:
    """Writes records, places in line and idempotency key in one step, at the caller's charge."""

    def __init__(
        self,
        exchange: Exchange,
        scripts: Scripts,
        standings: Standings,
        quotas: Quotas,
        settings: Settings,
    ) -> None:
        self._exchange, self._scripts = exchange, scripts
        self._standings, self._quotas = standings, quotas
        self._most_jobs, self._most_work = settings.queue_max_jobs, settings.queue_max_work
        self._retention_ms = settings.retention_s * 1000
        self._can_sign = bool(settings.webhook_secret.get_secret_value())
        self._guard = Guard(settings.webhook_allow)

    async def submit(
        self,
        requests: Sequence[AdmittedRequest],
        *,
        caller: Caller,
        idempotency_key: str,
        fingerprint: str,
        batch_id: str | None = None,
    ) -> Taken:
        """Take all of these requests in, or none; what is not taken in now costs nothing.

        Raises:
            IdempotencyError: the key was used for a request with another fingerprint.
            QueueFullError: a model has as many jobs, or as much work, as it may have.
            QuotaExceededError: the caller has used up a limit of its key.
            RequestOverLimitError: the caller's key never allows as much at once.
            WebhookRefusedError: a request names a webhook that would never be called.
        """
        asked = Asked(
            requests=[_telling(request, caller) for request in requests],
            caller=caller,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
            batch_id=batch_id,
        )
        self._check_webhooks(asked)
        try:
            async with self._quotas.charging(caller, asked.requests) as charge:
                taken = await self._write(asked)
                charge.is_due = taken.created_ms is not None
        except QuotaExceededError:
            # Who only asks again for what is there already is answered all the same.
            if (earlier := await self._earlier(asked)) is None:
                raise
            return earlier
        return taken

    async def _write(self, asked: Asked) -> Taken:
        """Raises as `submit`."""
        caller, requests, batch_id = asked.caller, asked.requests, asked.batch_id
        job_ids = [new_job_id() for _ in requests]
        submitted_id = batch_id or job_ids[0]
        with tracing.span(
            "submit", kind=tracing.PRODUCER, attributes={"darkroom.id": submitted_id}
        ):
            further = {"batch": batch_id, "traceparent": tracing.traceparent()}
            outcome, *found = await self._scripts.submit(
                keys=[
                    asked.idempotency,
                    keys.batch(batch_id) if batch_id else "",
                    keys.UNFINISHED_OF_KEYS,
                    *_keys_of(job_ids, requests, caller.tenant),
                ],
                args=[
                    len(requests),
                    asked.fingerprint,
                    self._retention_ms,
                    submitted_id,
                    self._most_jobs,
                    self._most_work,
                    caller.tenant,
                    caller.id,
                    caller.limits.unfinished_jobs or "",
                    *(
                        _described(job_id, request, further)
                        for job_id, request in zip(job_ids, requests, strict=True)
                    ),
                ],
            )
        match outcome.decode():
            case "conflict":
                raise IdempotencyError(asked.idempotency_key)
            case "busy":
                raise await self._busy(asked, unfinished=int(found[0]))
            case "full":
                number, jobs, work = map(int, found)
                raise await self._full(requests[number], jobs=jobs, work=work)
            case "created":
                for request in requests:
                    metrics.SUBMITTED.labels(request.model, request.lane).inc()
                    analytics.tell("job submitted", caller.tenant, request)
        kept_id, *since = found
        return Taken(kept_id.decode(), *since)

    async def _earlier(self, asked: Asked) -> Taken | None:
        """What is there under the same idempotency key and for the same request."""
        if not asked.idempotency:
            return None
        kept_id, kept_for = await self._exchange("HMGET", asked.idempotency, "id", "fingerprint")
        is_same = kept_id is not None and kept_for.decode() == asked.fingerprint
        return Taken(kept_id.decode()) if is_same else None

    def _check_webhooks(self, asked: Asked) -> None:
        """What can be told of webhooks now; their targets are checked again at each attempt.

        Raises:
            WebhookRefusedError
        """
        for number, request in enumerate(asked.requests):
            if request.webhook is None:
                continue
            prefix = f"jobs.{number}." if asked.batch_id else ""
            if not (self._can_sign or asked.caller.can_sign):
                detail = "there is no secret to sign webhooks by: neither DARKROOM_WEBHOOK_SECRET"
                raise WebhookRefusedError(f"{prefix}webhook", f"{detail}, nor one of this key")
            try:
                self._guard.check(request.webhook.url)
            except ForbiddenTargetError as error:
                raise WebhookRefusedError(f"{prefix}webhook.url", str(error)) from None

    async def _busy(
        self, asked: Asked, *, unfinished: int
    ) -> QuotaExceededError | RequestOverLimitError:
        """The refusal of a caller with too many unfinished jobs: some must end before."""
        limit, count = asked.caller.limits.unfinished_jobs or 0, len(asked.requests)
        if count > limit:
            return RequestOverLimitError(UNFINISHED, limit, count)
        first = asked.requests[0]
        pace = (await self._standings.look(first.model)).pace
        excess = (unfinished + count - limit) * first.work
        return QuotaExceededError(UNFINISHED, limit, pace.retry_after_s(excess))

    async def _full(self, request: AdmittedRequest, *, jobs: int, work: int) -> QueueFullError:
        """Which limit of the queue a request met, and when there will be room for it."""
        pace = (await self._standings.look(request.model)).pace
        if jobs >= self._most_jobs:
            excess = (jobs + 1 - self._most_jobs) * work / jobs
            detail = f"has {jobs} unfinished jobs already, and may have {self._most_jobs}"
            limit = self._most_jobs
        else:
            excess = work + request.work - self._most_work
            detail = (
                f"has {work} pixel-steps of unfinished work already, and may have {self._most_work}"
            )
            limit = self._most_work
        return QueueFullError(request.model, detail, limit, pace.retry_after_s(excess))


def _telling(request: AdmittedRequest, caller: Caller) -> AdmittedRequest:
    """A request that names whom to tell of it, if anybody does."""
    if request.webhook is not None or caller.webhook is None:
        return request
    return request.model_copy(update={"webhook": caller.webhook})


def _keys_of(job_ids: Sequence[str], requests: Sequence[AdmittedRequest], tenant: str) -> list[str]:
    return [
        key
        for job_id, request in zip(job_ids, requests, strict=True)
        for key in (*keys.of_job(job_id, request.model), keys.index(tenant))
    ]


def _described(job_id: str, request: AdmittedRequest, further: Mapping[str, str | None]) -> bytes:
    """What the script needs to know of a job.

    Args:
        further: fields of its record; those that are None are left out.
    """
    told = {name: value for name, value in further.items() if value is not None}
    fields = {**new_fields(request), **told}
    return to_json(
        {
            "id": job_id,
            "definition": queue.definition(job_id).decode(),
            "lane": queue.lane_number(request.lane),
            "work": request.work,
            "length": request.length,
            "fields": [str(part) for pair in fields.items() for part in pair],
        }
    )
