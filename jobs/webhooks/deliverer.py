"""Takes deliveries that are due and makes them; the API's processes share the work."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, Field

from jobs import keys, logs, metrics, tracing
from jobs.access.keyring import Keyring
from jobs.errors import JobNotFoundError, KeyNotFoundError, StoreUnavailableError
from jobs.exchange import Exchange
from jobs.model import Job
from jobs.settings import Settings
from jobs.signals import Signals
from jobs.store import JobStore
from jobs.tasks import is_told_to_end
from jobs.webhooks.deliveries import Deliveries, Taken
from jobs.webhooks.model import Delivery, Outcome, Webhook, WebhookEvent
from jobs.webhooks.sending import Answer, Sender
from jobs.webhooks.signing import Signer, secrets_in
from jobs.webhooks.targets import Guard

log = logging.getLogger("darkroom.webhooks")

#: How often an idle deliverer looks for what falls due by the clock.
POLL_S = 1.0
#: Beyond the attempt itself: reading the job before it and noting the outcome after it.
BOOKKEEPING_S = 15.0
#: How long a stopping deliverer lets its attempts go on; what is cut off is attempted again.
DRAIN_S = 5.0
#: Retries are spread over so much of their delay, so that receivers do not get them all at once.
JITTER = 0.2


class JobEvent(BaseModel):
    """The body of a webhook (Standard Webhooks 1.0.0, "Payload structure")."""

    type: WebhookEvent
    timestamp: datetime = Field(description="When it happened.")
    data: Job = Field(description="The job as it is when this is sent.")


def verdict(
    answer: Answer, earlier: int, retries_s: Sequence[float], jitter: float
) -> tuple[Outcome, float]:
    """What an attempt's answer means for its delivery.

    Args:
        earlier: how many attempts there were before this one.
        retries_s: the delay after each failed attempt.
        jitter: from 0 to 1, by chance.

    Returns: the outcome, and for a pending delivery the seconds until its next attempt. A receiver
    that asks for more time gets it, as much as the longest delay.
    """
    if answer.is_taken:
        return Outcome.DELIVERED, 0
    if answer.is_gone or earlier >= len(retries_s):
        return Outcome.ABANDONED, 0
    delay_s = max(retries_s[earlier], min(answer.retry_after_s, max(retries_s)))
    return Outcome.PENDING, delay_s * (1 + JITTER * jitter)


class Deliverer:
    """Delivers webhooks until it is cancelled."""

    def __init__(
        self,
        settings: Settings,
        jobs: JobStore,
        signals: Signals,
        present: Callable[[Job], Job],
    ) -> None:
        """
        Args:
            present: a job as clients see it, its pictures with addresses.
        """
        self._retries_s = settings.webhook_retries_s
        self._most = settings.webhook_concurrency
        self._lease_s = settings.webhook_timeout_s + BOOKKEEPING_S
        self._jobs, self._signals, self._present = jobs, signals, present
        exchange = Exchange(jobs.redis)
        self._deliveries, self._keyring = Deliveries(exchange), Keyring(exchange)
        self._signer = Signer(secrets_in(settings.webhook_secret.get_secret_value()))
        self._sender = Sender(
            Guard(settings.webhook_allow), timeout_s=settings.webhook_timeout_s, most=self._most
        )
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Deliver what is due, as soon as it is."""
        try:
            async with self._signals.on(keys.WEBHOOK_BELL) as bell:
                while not is_told_to_end():
                    for taken in await self._take():
                        task = asyncio.create_task(self._deliver(taken))
                        self._under_way.add(task)
                        # Room for one more.
                        task.add_done_callback(lambda _: bell.ring())
                        task.add_done_callback(self._under_way.discard)
                    await bell.wait(POLL_S)
        finally:
            await self._drain()

    async def _take(self) -> list[Taken]:
        room = self._most - len(self._under_way)
        try:
            return await self._deliveries.take(room, self._lease_s) if room else []
        except StoreUnavailableError:
            return []

    async def _drain(self) -> None:
        under_way = list(self._under_way)
        if under_way:
            await asyncio.wait(under_way, timeout=DRAIN_S)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._sender.aclose()

    async def _deliver(self, taken: Taken) -> None:
        """One attempt. Whatever stops it half-way, the delivery falls due again."""
        with logs.about(taken.job_id):
            try:
                await self._try(taken)
            except JobNotFoundError:
                await self._deliveries.forget(taken)
            except StoreUnavailableError as error:
                log.warning("%s is tried again later: %s", taken.id, error)
            except Exception:
                # What Redis holds of it cannot be read, and would not be at the next attempt.
                log.exception("%s is given up", taken.id)
                await self._deliveries.forget(taken)

    async def _try(self, taken: Taken) -> None:
        """Raises as `Deliveries.get` and `JobStore.get`."""
        is_traced = tracing.is_on()
        parent = await self._jobs.field(taken.job_id, "traceparent") if is_traced else None
        attributes = {"darkroom.job_id": taken.job_id, "darkroom.event": taken.event}
        with tracing.span(
            "webhook", parent=parent, kind=tracing.CLIENT, attributes=attributes
        ) as span:
            delivery = await self._deliveries.get(taken)
            answer = await self._attempt(taken, delivery)
            outcome, retry_in_s = verdict(
                answer, len(delivery.attempts), self._retries_s, random.random()
            )
            await self._deliveries.settle(taken, answer, outcome, retry_in_s)
            span.set_attribute("darkroom.outcome", outcome)
            metrics.WEBHOOK_ATTEMPTS.labels(outcome).inc()
            level = logging.WARNING if outcome is Outcome.ABANDONED else logging.INFO
            log.log(level, "%s: %s (%s)", taken.id, outcome, answer.error or answer.status_code)

    async def _attempt(self, taken: Taken, delivery: Delivery) -> Answer:
        """Raises as `JobStore.get`; anything else that goes wrong is a failed attempt."""
        try:
            job = await self._jobs.get(taken.job_id)
            assert job.request.webhook is not None
            return await self._post(job.request.webhook, delivery, job)
        except (JobNotFoundError, StoreUnavailableError):
            raise
        except Exception:
            log.exception("%s cannot be sent", delivery.id)
            return Answer(error="the service could not make it")

    async def _post(self, webhook: Webhook, delivery: Delivery, job: Job) -> Answer:
        event = JobEvent(
            type=delivery.event, timestamp=delivery.created_at, data=self._present(job)
        )
        body = event.model_dump_json()
        signer = await self._signer_of(job)
        headers = signer.headers(delivery.id, body, datetime.now(UTC))
        return await self._sender.post(webhook.url, headers, body)

    async def _signer_of(self, job: Job) -> Signer:
        """A key that has a secret of its own signs by that alone, and after it is revoked, too."""
        try:
            key = await self._keyring.get(await self._jobs.key_of(job.id))
        except KeyNotFoundError:
            return self._signer
        return Signer([key.webhook_secret.get_secret_value()]) if key.can_sign else self._signer
