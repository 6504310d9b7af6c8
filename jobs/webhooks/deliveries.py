"""What clients are owed, as it lies in Redis: written with the transition that owes it.

A delivery's score is when its next attempt is due. Who takes one moves the score ahead by longer
than an attempt lasts; if he dies, it falls due again. So each is attempted at least once.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobs import keys
from jobs.errors import JobNotFoundError
from jobs.exchange import Exchange
from jobs.scripts import Scripts
from jobs.webhooks.model import Delivery, DeliveryAttempt, Outcome, WebhookEvent
from jobs.webhooks.sending import Answer


@dataclass(frozen=True)
class Taken:
    """A delivery that nobody else attempts until its lease ends."""

    id: str
    #: Unix time in ms.
    lease_end: int

    @property
    def job_id(self) -> str:
        return self.id.partition("_")[2].partition("_")[0]

    @property
    def event(self) -> WebhookEvent:
        return WebhookEvent(f"job.{self.id.split('_')[2]}")


class Deliveries:
    """Every delivery there is. All of its methods raise as `Exchange`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._scripts = Scripts(exchange)

    async def of_job(self, job_id: str) -> list[Delivery]:
        """What a job's client was, is and will be told, in the order it happened."""
        stored: dict[bytes, bytes] = await self._exchange("HGETALL", keys.deliveries(job_id))
        found = [
            _delivery(job_id, WebhookEvent(event.decode()), json.loads(value))
            for event, value in stored.items()
        ]
        return sorted(found, key=lambda delivery: delivery.created_at)

    async def get(self, taken: Taken) -> Delivery:
        """
        Raises:
            JobNotFoundError: the job, and with it the delivery, has been forgotten.
        """
        for delivery in await self.of_job(taken.job_id):
            if delivery.event is taken.event:
                return delivery
        raise JobNotFoundError(taken.job_id)

    async def take(self, most: int, lease_s: float) -> list[Taken]:
        """Deliveries that are due, those due longest first."""
        lease_end, ids = await self._scripts.take_due(
            keys=[keys.WEBHOOKS], args=[most, int(lease_s * 1000)]
        )
        return [Taken(delivery_id.decode(), lease_end) for delivery_id in ids]

    async def settle(
        self, taken: Taken, answer: Answer, outcome: Outcome, retry_in_s: float = 0
    ) -> None:
        """Note an attempt; a pending delivery is due again in so many seconds."""
        told = {"status_code": answer.status_code, "error": answer.error}
        attempt = {name: value for name, value in told.items() if value is not None}
        await self._scripts.settle(
            keys=[keys.WEBHOOKS, keys.deliveries(taken.job_id)],
            args=[
                taken.id,
                taken.event,
                taken.lease_end,
                json.dumps(attempt),
                outcome,
                int(retry_in_s * 1000),
            ],
        )

    async def forget(self, taken: Taken) -> None:
        """Nobody is owed this any more."""
        await self._exchange("ZREM", keys.WEBHOOKS, taken.id)


def _delivery(job_id: str, event: WebhookEvent, stored: dict[str, Any]) -> Delivery:
    attempts = [
        DeliveryAttempt.model_validate({**attempt, "ended_at": _moment(attempt["ended_ms"])})
        for attempt in stored.get("attempts", [])
    ]
    return Delivery(
        id=f"msg_{job_id}_{event.removeprefix('job.')}",
        event=event,
        outcome=Outcome(stored.get("outcome", Outcome.PENDING)),
        created_at=_moment(stored["created_ms"]),
        next_at=_moment(stored["next_ms"]) if "next_ms" in stored else None,
        attempts=tuple(attempts),
    )


def _moment(unix_ms: float) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
