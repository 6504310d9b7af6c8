"""One client's connection, within bounds: uvicorn would wait for a slow sender for ever."""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.problems import KINDS, MEDIA_TYPE, RETRY_AFTER_S

#: The request line and the headers; httptools, unlike others, would collect any amount.
MAX_HEAD_BYTES: Final = 64 * 2**10


class BoundedConnection(HttpToolsProtocol):
    """Refuses connections beyond a number, heads beyond a size, and requests that never arrive."""

    #: Set by `bounded`.
    max_connections: int
    request_timeout_s: float

    _deadline: asyncio.TimerHandle | None = None
    #: What has arrived of a head that is not complete, in packets of its own.
    _head_bytes = 0
    _heads = 0
    _is_in_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        if len(self.connections) > self.max_connections:
            self._refuse("too-many-connections")
        else:
            self._start_clock()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        is_of_head, heads = not self._is_in_body, self._heads
        super().data_received(data)
        if is_of_head and heads == self._heads:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse("head-too-large")

    def on_message_begin(self) -> None:
        self._start_clock()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_bytes, self._heads, self._is_in_body = 0, self._heads + 1, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_clock()
        self._is_in_body = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def _start_clock(self) -> None:
        self._stop_clock()
        self._deadline = self.loop.call_later(self.request_timeout_s, self._time_is_up)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def _time_is_up(self) -> None:
        if self.pipeline:
            # It waits for the answer to an earlier request, and is not read meanwhile.
            self._start_clock()
        elif self.cycle is not None and self.cycle.response_started:
            self.transport.abort()
        else:
            self._refuse("request-timeout")

    def _refuse(self, kind: str) -> None:
        """Answer with a problem, without the application, and hang up."""
        if not self.transport.is_closing():
            self.transport.write(_refusal(kind))
            self.transport.close()


def bounded(max_connections: int, request_timeout_s: float) -> type[BoundedConnection]:
    """The class of connections with these bounds, as uvicorn wants to be given it."""
    bounds = {"max_connections": max_connections, "request_timeout_s": request_timeout_s}
    return type("Connection", (BoundedConnection,), bounds)


def _refusal(kind: str) -> bytes:
    """A whole HTTP/1.1 answer."""
    known = KINDS[kind]
    problem: dict[str, Any] = {
        "type": f"/problems/{kind}",
        "title": known.title,
        "status": known.status,
        "detail": known.title,
    }
    body = json.dumps(problem).encode()
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": len(body), "Connection": "close"}
    if known.status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = RETRY_AFTER_S
    lines = [
        f"HTTP/1.1 {known.status.value} {known.status.phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
