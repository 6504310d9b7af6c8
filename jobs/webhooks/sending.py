"""One POST to a stranger: to a checked address, within bounds, following nothing."""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import httpcore
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

from jobs.webhooks.targets import ForbiddenTargetError, Guard

#: How much of an answer is read; nothing depends on it.
ANSWER_BYTES = 4_096


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, or why nothing did."""

    status_code: int | None = None
    error: str | None = None
    retry_after_s: int = 0
    #: The first `ANSWER_BYTES`, at least.
    body: bytes = b""

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status_code is not None and 200 <= self.status_code < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more."""
        return self.status_code == 410


class CheckedNetwork(AsyncNetworkBackend):
    """Connects to what the guard has looked at, and to nothing else.

    Here names become addresses, once, so there is no second look-up that could answer differently;
    the host's name still goes into the `Host` header and the TLS handshake.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard, self._network = guard, httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """
        Raises:
            ForbiddenTargetError: a webhook must not go there.
            httpcore.ConnectError: the name has no address, or none of them takes a connection.
        """
        try:
            addresses = await self._guard.addresses(host)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} has no address") from error
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class Sender:
    """Posts bodies. Neither redirects nor proxies nor cookies exist for it."""

    def __init__(
        self,
        guard: Guard,
        *,
        timeout_s: float,
        most: int,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """
        Args:
            timeout_s: how long one POST may take, from the look-up to the answer's end.
            most: how many of them at once.
            ssl_context: whom to trust; the usual authorities by default.
        """
        self._timeout_s = timeout_s
        # An address that swallows packets leaves time for the host's next one.
        self._limits = {"timeout": {"connect": timeout_s / 3}}
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=most,
            # Every attempt looks at the name anew.
            max_keepalive_connections=0,
            network_backend=CheckedNetwork(guard),
        )

    async def post(self, url: str, headers: Mapping[str, str], body: str) -> Answer:
        """Send JSON. Whatever the receiver or the way to it does, it is an answer, no exception."""
        headers = {
            "content-type": "application/json",
            "user-agent": "Darkroom-Webhooks",
            **headers,
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(url, list(headers.items()), body.encode())
        except (TimeoutError, httpcore.TimeoutException):
            return Answer(error=f"there was no whole answer within {self._timeout_s:g} s")
        except ForbiddenTargetError as error:
            return Answer(error=str(error))
        except httpcore.ConnectError as error:
            return Answer(error=f"no connection: {error}")
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            return Answer(error=f"the connection broke ({type(error).__name__})")

    async def _exchange(self, url: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        async with self._pool.stream(
            "POST", url, headers=headers, content=body, extensions=self._limits
        ) as response:
            read = b""
            async for chunk in response.aiter_stream():
                read += chunk
                if len(read) >= ANSWER_BYTES:
                    break
        error = None if 200 <= response.status < 300 else f"the answer was {response.status}"
        return Answer(
            status_code=response.status,
            error=error,
            retry_after_s=_seconds(dict(response.headers).get(b"Retry-After", b"")),
            body=read,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


def _seconds(retry_after: bytes) -> int:
    """A `Retry-After` in seconds; one that is a date says nothing to us."""
    return int(retry_after) if retry_after.isdigit() and len(retry_after) < 8 else 0
