"""All keys there are, in Redis; each process remembers for a moment which it has seen."""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import SecretStr, ValidationError

from jobs import keys
from jobs.access.model import NO_LIMITS, USER_SCOPES, ApiKey, Limits, Scope
from jobs.access.secret import KeySecret
from jobs.errors import KeyNotFoundError, StoreUnavailableError
from jobs.exchange import Exchange
from jobs.webhooks.model import Webhook

log = logging.getLogger("darkroom.access")

#: How long a key that was found valid is believed to be: a revoked one stops within this.
FRESH_S: Final = 1.0
#: How many keys a process remembers.
MOST_REMEMBERED: Final = 4_096


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A key that was valid at a moment, of the process's own clock."""

    key: ApiKey
    at_s: float


class Keyring:
    """Makes keys, finds them, and revokes them. All of its methods raise as `Exchange`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        #: By the key's own text.
        self._seen: dict[str, Seen] = {}

    async def create(
        self,
        *,
        tenant: str,
        name: str = "",
        scopes: frozenset[Scope] = USER_SCOPES,
        limits: Limits = NO_LIMITS,
        webhook: Webhook | None = None,
        webhook_secret: str = "",
    ) -> tuple[ApiKey, KeySecret]:
        """A new key, and its secret, which can be had here only.

        Raises:
            ValidationError: one of these breaks a limit.
        """
        secret = KeySecret.new()
        key = ApiKey(
            id=secret.id,
            tenant=tenant,
            name=name,
            scopes=scopes,
            limits=limits,
            webhook=webhook,
            webhook_secret=SecretStr(webhook_secret),
            created_at=datetime.now(UTC),
            secret_sha256=secret.sha256,
        )
        await self._exchange("HSET", keys.API_KEYS, key.id, key.model_dump_json())
        return key, secret

    async def all(self) -> list[ApiKey]:
        """Every key, revoked ones too, the oldest first."""
        stored: dict[bytes, bytes] = await self._exchange("HGETALL", keys.API_KEYS)
        found = (_read(key_id.decode(), record) for key_id, record in stored.items())
        return sorted((key for key in found if key), key=lambda key: key.created_at)

    async def get(self, key_id: str) -> ApiKey:
        """
        Raises:
            KeyNotFoundError: there is none of this id.
        """
        record: bytes | None = await self._exchange("HGET", keys.API_KEYS, key_id)
        key = _read(key_id, record) if record else None
        if key is None:
            raise KeyNotFoundError(key_id)
        return key

    async def revoke(self, key_id: str) -> ApiKey:
        """Let a key open nothing any more, anywhere, within `FRESH_S`. It stays listed.

        Raises:
            KeyNotFoundError: there is none of this id.
        """
        key = await self.get(key_id)
        if key.is_valid:
            key = key.model_copy(update={"revoked_at": datetime.now(UTC)})
            await self._exchange("HSET", keys.API_KEYS, key_id, key.model_dump_json())
        return key

    async def holder(self, secret: KeySecret) -> ApiKey | None:
        """The key that a secret belongs to; None when it is unknown, wrong or revoked.

        While Redis is away, a key that was valid when last seen stays so: without Redis there is
        nothing of anybody's to be had, and operators can still read that it is away.
        """
        seen = self._seen.get(secret.text)
        now_s = time.monotonic()
        if seen and now_s - seen.at_s < FRESH_S:
            return seen.key
        try:
            key = await self.get(secret.id)
        except KeyNotFoundError:
            key = None
        except StoreUnavailableError:
            if seen is None:
                raise
            return seen.key
        if key is None or not key.is_valid or not secret.matches(key.secret_sha256):
            self._seen.pop(secret.text, None)
            return None
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        self._seen[secret.text] = Seen(key=key, at_s=now_s)
        return key


def _read(key_id: str, record: bytes) -> ApiKey | None:
    """A key as it was kept; one that cannot be read opens nothing."""
    try:
        return ApiKey.model_validate_json(record)
    except ValidationError:
        log.error("the record of key %r cannot be read; create another", key_id[:64])
        return None
