"""`python -m jobs.webhooks.trial URL` sends a signed event that means nothing."""

import asyncio
import json
import secrets
import sys
from datetime import UTC, datetime

from pydantic import ValidationError

from jobs.settings import Settings, settings
from jobs.webhooks.model import Webhook
from jobs.webhooks.sending import Answer, Sender
from jobs.webhooks.signing import Signer, secrets_in
from jobs.webhooks.targets import Guard

EVENT = "webhook.test"


async def send(chosen: Settings, url: str) -> Answer:
    """Post the event as a deliverer posts its own, to the same targets only."""
    now = datetime.now(UTC)
    body = json.dumps({"type": EVENT, "timestamp": now.isoformat(), "data": {}})
    signer = Signer(secrets_in(chosen.webhook_secret.get_secret_value()))
    sender = Sender(Guard(chosen.webhook_allow), timeout_s=chosen.webhook_timeout_s, most=1)
    try:
        headers = signer.headers(f"msg_test_{secrets.token_hex(16)}", body, now)
        return await sender.post(url, headers, body)
    finally:
        await sender.aclose()


def main() -> int:
    """Print what came back; the exit code is 1 unless the receiver has taken it."""
    chosen = settings()
    if not chosen.webhook_secret.get_secret_value():
        print("darkroom-server: DARKROOM_WEBHOOK_SECRET is empty", file=sys.stderr)
        return 1
    try:
        webhook = Webhook(url=sys.argv[1])
    except ValidationError as error:
        print(f"darkroom-server: {error.errors()[0]['msg']}", file=sys.stderr)
        return 1
    answer = asyncio.run(send(chosen, webhook.url))
    if answer.status_code is not None:
        print(f"HTTP {answer.status_code}")
        # Escaped: what a stranger answers must not steer the terminal.
        print(ascii(answer.body.decode(errors="replace")) if answer.body else "(empty)")
    if answer.error:
        print(f"darkroom-server: not delivered: {answer.error}", file=sys.stderr)
    return 0 if answer.is_taken else 1


if __name__ == "__main__":
    sys.exit(main())
