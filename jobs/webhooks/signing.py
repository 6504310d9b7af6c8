"""Signatures as in Standard Webhooks 1.0.0, by which a receiver knows who has sent what it got."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from standardwebhooks import Webhook as Signature

PREFIX: Final = "whsec_"
#: How long a symmetric secret may be, in bytes (Standard Webhooks 1.0.0, "Signature scheme").
SHORTEST, LONGEST = 24, 64


def secrets_in(text: str) -> list[str]:
    """The secrets of a list by comma.

    Raises:
        ValueError: one is none. The error does not hold it.
    """
    secrets = [secret.strip() for secret in text.split(",") if secret.strip()]
    for secret in secrets:
        try:
            size = len(base64.b64decode(secret.removeprefix(PREFIX), validate=True))
        except binascii.Error:
            size = 0
        if not secret.startswith(PREFIX) or not SHORTEST <= size <= LONGEST:
            raise ValueError(
                f"a secret is {PREFIX} and {SHORTEST} to {LONGEST} random bytes in base64, as made "
                f'by: echo "{PREFIX}$(openssl rand -base64 32)"'
            )
    return secrets


class Signer:
    """Signs with every secret there is, so that one can be replaced while receivers hold either."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._signatures = [Signature(secret) for secret in secrets]

    def headers(self, message_id: str, body: str, now: datetime) -> dict[str, str]:
        """What goes with a body.

        Args:
            now: when this attempt is made, in UTC; receivers refuse one that is minutes old.
        """
        signed = [each.sign(message_id, now, body) for each in self._signatures]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signed),
        }
