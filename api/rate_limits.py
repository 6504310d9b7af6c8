"""What is left of a key's limits, as headers (draft-ietf-httpapi-ratelimit-headers-11 of 2026)."""

from typing import Final

from jobs.access.model import Caller
from jobs.access.quotas import UNFINISHED, Allowance, Quotas
from jobs.errors import StoreUnavailableError

#: What a policy counts where it is not requests. The draft's registry has no unit for pictures.
UNITS: Final = {"images-per-day": "images", UNFINISHED: "concurrent-requests"}

Headers = list[tuple[bytes, bytes]]


async def headers(quotas: Quotas, caller: Caller) -> Headers:
    """`RateLimit-Policy` and `RateLimit`; none while Redis is away."""
    try:
        allowances = await quotas.allowances(caller)
    except StoreUnavailableError:
        return []
    return [
        (b"ratelimit-policy", ", ".join(map(_policy, allowances)).encode()),
        (b"ratelimit", ", ".join(map(_service_limit, allowances)).encode()),
    ]


def _policy(allowance: Allowance) -> str:
    """A quota policy item (section 3.1)."""
    unit, window_s = UNITS.get(allowance.policy), allowance.window_s
    return _item(allowance.policy, q=allowance.quota, qu=unit and f'"{unit}"', w=window_s)


def _service_limit(allowance: Allowance) -> str:
    """A service limit item (section 4.1)."""
    return _item(allowance.policy, r=allowance.left, t=allowance.more_in_s)


def _item(name: str, **parameters: int | str | None) -> str:
    """A string with parameters (RFC 9651, section 3.3)."""
    told = (f";{key}={value}" for key, value in parameters.items() if value is not None)
    return f'"{name}"{"".join(told)}'
