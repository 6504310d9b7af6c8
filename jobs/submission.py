"""Taking jobs in: one or many, atomically, once for each idempotency key, within bounds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs import keys, metrics, queue, tracing
from jobs.errors import IdempotencyError, QueueFullError, WebhookRefusedError
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


class Submission:
    """Writes records, places in line and idempotency key in one step."""

    def __init__(self, scripts: Scripts, standings: Standings, settings: Settings) -> None:
        self._scripts, self._standings = scripts, standings
        self._most_jobs, self._most_work = settings.queue_max_jobs, settings.queue_max_work
        self._retention_ms = settings.retention_s * 1000
        self._can_sign = bool(settings.webhook_secret.get_secret_value())
        self._guard = Guard(settings.webhook_allow)

    async def submit(
        self,
        requests: Sequence[AdmittedRequest],
        *,
        tenant: str,
        idempotency_key: str,
        fingerprint: str,
        batch_id: str | None = None,
    ) -> Taken:
        """Take all of these requests in, or none.

        Raises:
            IdempotencyError: the key was used for a request with another fingerprint.
            QueueFullError: a model has as many jobs, or as much work, as it may have.
            WebhookRefusedError: a request names a webhook that would never be called.
        """
        for number, request in enumerate(requests):
            self._check_webhook(request, f"jobs.{number}." if batch_id else "")
        job_ids = [new_job_id() for _ in requests]
        submitted_id = batch_id or job_ids[0]
        with tracing.span(
            "submit", kind=tracing.PRODUCER, attributes={"darkroom.id": submitted_id}
        ):
            further = {"batch": batch_id, "traceparent": tracing.traceparent()}
            outcome, *found = await self._scripts.submit(
                keys=[
                    keys.idempotency(tenant, idempotency_key) if idempotency_key else "",
                    keys.batch(batch_id) if batch_id else "",
                    *_keys_of(job_ids, requests, tenant),
                ],
                args=[
                    len(requests),
                    fingerprint,
                    self._retention_ms,
                    submitted_id,
                    self._most_jobs,
                    self._most_work,
                    *(
                        _described(job_id, request, tenant, further)
                        for job_id, request in zip(job_ids, requests, strict=True)
                    ),
                ],
            )
        match outcome.decode():
            case "conflict":
                raise IdempotencyError(idempotency_key)
            case "full":
                number, jobs, work = map(int, found)
                raise await self._refusal(requests[number], jobs=jobs, work=work)
            case "created":
                for request in requests:
                    metrics.SUBMITTED.labels(request.model, request.lane).inc()
        kept_id, *since = found
        return Taken(kept_id.decode(), *since)

    def _check_webhook(self, request: AdmittedRequest, prefix: str) -> None:
        """What can be told of a webhook now; its target is checked again at each attempt.

        Raises:
            WebhookRefusedError
        """
        if request.webhook is None:
            return
        if not self._can_sign:
            detail = "this service sends no webhooks: it has no DARKROOM_WEBHOOK_SECRET to sign by"
            raise WebhookRefusedError(f"{prefix}webhook", detail)
        try:
            self._guard.check(request.webhook.url)
        except ForbiddenTargetError as error:
            raise WebhookRefusedError(f"{prefix}webhook.url", str(error)) from None

    async def _refusal(self, request: AdmittedRequest, *, jobs: int, work: int) -> QueueFullError:
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


def _keys_of(job_ids: Sequence[str], requests: Sequence[AdmittedRequest], tenant: str) -> list[str]:
    return [
        key
        for job_id, request in zip(job_ids, requests, strict=True)
        for key in (*keys.of_job(job_id, request.model), keys.index(tenant))
    ]


def _described(
    job_id: str, request: AdmittedRequest, tenant: str, further: Mapping[str, str | None]
) -> str:
    """What the script needs to know of a job.

    Args:
        further: fields of its record; those that are None are left out.
    """
    told = {name: value for name, value in further.items() if value is not None}
    fields = {**new_fields(request), **told}
    return json.dumps(
        {
            "id": job_id,
            "definition": queue.definition(job_id).decode(),
            "lane": queue.lane_number(request.lane),
            "tenant": tenant,
            "work": request.work,
            "length": request.length,
            "fields": [str(part) for pair in fields.items() for part in pair],
        }
    )
