"""Performs flows over HTTP, awaiting. Line for line what `blocking.py` does."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, closing
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


class AsyncTransport:
    """Connections to a service and to its storage."""

    def __init__(self, service: Service, timeout_s: float) -> None:
        self.service, self.timeout_s = service, timeout_s
        # Reading the machine's certificates takes longer than all else here; once is enough.
        trusted = httpx.create_ssl_context()
        self.api = httpx.AsyncClient(
            base_url=service.url, headers=service.headers, timeout=timeout_s, verify=trusted
        )
        # Pictures come from the storage's own address, which must not see the key.
        self.storage = httpx.AsyncClient(timeout=timeout_s, verify=trusted)

    async def aclose(self) -> None:
        await self.api.aclose()
        await self.storage.aclose()

    async def run(self, flow: Flow[T], tell: Callable[[Any], None] | None = None) -> T:
        """Perform a flow to its end, handing on what it tells."""
        ended: list[T] = []
        async with aclosing(self.each(noting(flow, ended))) as told:
            async for value in told:
                if tell is not None:
                    tell(value)
        return ended[0]

    async def each(self, flow: Flow[object]) -> AsyncGenerator[Any, None]:
        """Perform a flow as far as somebody iterates over what it tells."""
        outcome: Any = None
        with closing(flow):
            async with aclosing(_Performance(self)) as performance:
                while True:
                    try:
                        effect = flow.send(outcome)
                    except StopIteration:
                        return
                    if isinstance(effect, Tell):
                        outcome = yield effect.value
                    else:
                        outcome = await performance.of(effect)


class _Performance:
    """One flow under way, with the stream that it listens to."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._stream: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def of(self, effect: Effect) -> Any:
        """The outcome of an effect."""
        api, timeout_s = self._transport.api, self._transport.timeout_s
        try:
            match effect:
                case Pause():
                    await asyncio.sleep(effect.seconds)
                case Save():
                    await asyncio.to_thread(effect.path.write_bytes, effect.content)
                case Call():
                    return reply_of(await api.request(**arguments(effect, timeout_s)))
                case Fetch():
                    return reply_of(await self._transport.storage.get(effect.url))
                case Listen():
                    request = api.build_request(**arguments(effect.call, timeout_s))
                    return await self._listen(request)
                case Hear():
                    return await anext(self._pieces, b"") if self._pieces else b""
        except BROKEN as error:
            return broken(effect, error, self._transport.service)
        return None

    async def _listen(self, request: httpx.Request) -> Reply:
        await self.aclose()
        self._stream = await self._transport.api.send(request, stream=True)
        head = head_of(self._stream)
        if head.is_stream:
            self._pieces = self._stream.aiter_bytes()
            return head
        await self._stream.aread()
        return reply_of(self._stream)

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()
        self._stream, self._pieces = None, None
