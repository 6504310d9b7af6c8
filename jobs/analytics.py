"""Product analytics for operators who want them: what happens to jobs, never what they show.

Goes to PostHog, or whatever takes its batches (https://posthog.com/docs/api/capture). Off without a
key. No job waits for it: what cannot be sent soon enough is dropped.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from jobs.model import AdmittedRequest
from jobs.settings import Settings
from jobs.tasks import is_told_to_end
from jobs.webhooks.sending import Answer, Sender
from jobs.webhooks.targets import Guard

log = logging.getLogger("darkroom.analytics")

#: What of a request is told; prompts, labels, metadata and seeds are their author's business.
TOLD: Final = {"model", "lane", "images", "width", "height", "steps", "output_format"}
#: Events kept until they are sent, and sent at once.
MOST_KEPT, MOST_AT_ONCE = 10_000, 500
SEND_EVERY_S, SEND_WITHIN_S = 5.0, 5.0

Event = dict[str, Any]
_kept: deque[Event] | None = None


def is_on() -> bool:
    return _kept is not None


def tell(event: str, tenant: str, request: AdmittedRequest, **more: str | float) -> None:
    """Something has happened to a job.

    Args:
        tenant: whose job it is, as PostHog's `distinct_id`.
        more: further properties.
    """
    if _kept is None:
        return
    properties = {
        **request.model_dump(mode="json", include=TOLD),
        **more,
        # Tenants are no persons, and where the service stands is not where they are.
        "$process_person_profile": False,
        "$geoip_disable": True,
    }
    _kept.append(
        {
            "event": event,
            "distinct_id": tenant,
            "timestamp": datetime.now(UTC).isoformat(),
            "properties": properties,
        }
    )


@asynccontextmanager
async def sending(settings: Settings) -> AsyncIterator[None]:
    """Send what is told for the length of a block, and the rest at its end."""
    global _kept
    key = settings.analytics_key.get_secret_value()
    if not key:
        yield
        return
    _kept = deque(maxlen=MOST_KEPT)
    host = urlsplit(settings.analytics_host).hostname or ""
    sender = Sender(Guard([host]), timeout_s=SEND_WITHIN_S, most=1)
    mail = _Mail(sender, f"{settings.analytics_host.rstrip('/')}/batch/", key, _kept)
    running = asyncio.create_task(mail.run())
    try:
        yield
    finally:
        _kept = None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await mail.send()
        await sender.aclose()


class _Mail:
    """Takes events out of the bounded line and posts them, some at a time."""

    def __init__(self, sender: Sender, url: str, key: str, kept: deque[Event]) -> None:
        self._sender, self._url, self._key, self._kept = sender, url, key, kept
        self._is_taken = True

    async def run(self) -> None:
        while not is_told_to_end():
            await asyncio.sleep(SEND_EVERY_S)
            while await self.send() and len(self._kept) >= MOST_AT_ONCE:
                pass

    async def send(self) -> bool:
        """One POST of what was told first; whether it was taken."""
        batch = [self._kept.popleft() for _ in range(min(len(self._kept), MOST_AT_ONCE))]
        if not batch:
            return True
        body = json.dumps({"api_key": self._key, "batch": batch})
        answer = await self._sender.post(self._url, {"user-agent": "Darkroom"}, body)
        if _is_worth_another_try(answer):
            # Where there is no room any more, the newest go.
            self._kept.extendleft(reversed(batch))
        if self._is_taken and not answer.is_taken:
            log.warning("analytics are not taken: %s", answer.error)
        self._is_taken = answer.is_taken
        return answer.is_taken


def _is_worth_another_try(answer: Answer) -> bool:
    return answer.status_code is None or answer.status_code >= 500
