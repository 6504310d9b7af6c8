"""Between our calls and httpx, for both transports."""

from typing import Any, Final

import httpx

from darkroom.config import Service
from darkroom.errors import UnreachableError
from darkroom.exchange import Call, Effect, Fetch, Hear, Reply

#: What httpx raises when an exchange does not come about.
BROKEN: Final = (httpx.HTTPError, httpx.InvalidURL)


def arguments(call: Call, timeout_s: float) -> dict[str, Any]:
    """A call as httpx takes it."""
    silence_s = timeout_s if call.read_timeout_s is None else call.read_timeout_s
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.params),
        "headers": dict(call.headers),
        "json": call.body,
        "timeout": httpx.Timeout(timeout_s, read=silence_s),
    }


def reply_of(response: httpx.Response) -> Reply:
    """An answer that has come whole."""
    return Reply(response.status_code, response.headers, response.content)


def head_of(response: httpx.Response) -> Reply:
    """An answer whose body is yet to come."""
    return Reply(response.status_code, response.headers)


def broken(effect: Effect, error: Exception, service: Service) -> UnreachableError | bytes:
    """The outcome of an exchange that did not come about."""
    name = type(error).__name__
    match effect:
        case Hear():
            return b""
        case Fetch():
            # The address is signed, so it is nobody's to read.
            return UnreachableError(f"the storage does not answer ({name})")
        case _:
            return UnreachableError(f"nothing answers at {service.url} ({name})")
