"""Performs flows over HTTP, blocking."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx

from darkroom.config import Service
from darkroom.exchange import (
    Call,
    Effect,
    Fetch,
    Flow,
    Hear,
    Listen,
    Pause,
    Reply,
    Save,
    T,
    Tell,
    noting,
)
from darkroom.wire import BROKEN, arguments, broken, head_of, reply_of


class Transport:
    """Connections to a service and to its storage."""

    def __init__(self, service: Service, timeout_s: float) -> None:
        self.service, self.timeout_s = service, timeout_s
        # Reading the machine's certificates takes longer than all else here; once is enough.
        trusted = httpx.create_ssl_context()
        self.api = httpx.Client(
            base_url=service.url, headers=service.headers, timeout=timeout_s, verify=trusted
        )
        # Pictures come from the storage's own address, which must not see the key.
        self.storage = httpx.Client(timeout=timeout_s, verify=trusted)

    def close(self) -> None:
        self.api.close()
        self.storage.close()

    def run(self, flow: Flow[T], tell: Callable[[Any], None] | None = None) -> T:
        """Perform a flow to its end, handing on what it tells."""
        ended: list[T] = []
        for value in self.each(noting(flow, ended)):
            if tell is not None:
                tell(value)
        return ended[0]

    def each(self, flow: Flow[object]) -> Iterator[Any]:
        """Perform a flow as far as somebody iterates over what it tells."""
        outcome: Any = None
        with closing(flow), closing(_Performance(self)) as performance:
            while True:
                try:
                    effect = flow.send(outcome)
                except StopIteration:
                    return
                if isinstance(effect, Tell):
                    outcome = yield effect.value
                else:
                    outcome = performance.of(effect)


class _Performance:
    """One flow under way, with the stream that it listens to."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stream: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def of(self, effect: Effect) -> Any:
        """The outcome of an effect."""
        api, timeout_s = self._transport.api, self._transport.timeout_s
        try:
            match effect:
                case Pause():
                    time.sleep(effect.seconds)
                case Save():
                    effect.path.write_bytes(effect.content)
                case Call():
                    return reply_of(api.request(**arguments(effect, timeout_s)))
                case Fetch():
                    return reply_of(self._transport.storage.get(effect.url))
                case Listen():
                    return self._listen(api.build_request(**arguments(effect.call, timeout_s)))
                case Hear():
                    return next(self._pieces, b"")
        except BROKEN as error:
            return broken(effect, error, self._transport.service)
        return None

    def _listen(self, request: httpx.Request) -> Reply:
        self.close()
        self._stream = self._transport.api.send(request, stream=True)
        head = head_of(self._stream)
        if head.is_stream:
            self._pieces = self._stream.iter_bytes()
            return head
        self._stream.read()
        return reply_of(self._stream)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream, self._pieces = None, iter(())
