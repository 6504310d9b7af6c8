"""Keys for tests, and what their holders send."""

from dataclasses import dataclass
from typing import Any

from arq.connections import ArqRedis

from jobs.access.keyring import Keyring
from jobs.access.model import ApiKey, Limits
from jobs.exchange import Exchange


@dataclass(frozen=True)
class Holder:
    """Who holds a key."""

    key: ApiKey
    text: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}


async def holder(redis: ArqRedis, tenant: str = "ann", **what: Any) -> Holder:
    """A new key's holder."""
    if "limits" in what:
        what["limits"] = Limits(**what["limits"])
    key, secret = await Keyring(Exchange(redis)).create(tenant=tenant, **what)
    return Holder(key, secret.text)
