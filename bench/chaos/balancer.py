"""What stands before several APIs: hands each new connection to the next one in rotation."""

import asyncio
from contextlib import suppress


class Balancer:
    """Forwards a port of this machine, as a Service of Kubernetes does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._backends: list[int] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Cut everybody off."""
        if self._server:
            self._server.close()
        for end in self._open:
            end.transport.abort()
        while self._open:  # noqa: ASYNC110 (they end as soon as they are let)
            await asyncio.sleep(0)

    def add(self, port: int) -> None:
        self._backends.append(port)

    def remove(self, port: int) -> None:
        """Send it nothing new; what it is at goes on."""
        self._backends.remove(port)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend = self._backends.pop(0)
        self._backends.append(backend)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", backend)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._open |= ends
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        self._open -= ends
        for end in ends:
            end.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes from one end to the other, to its end."""
    with suppress(ConnectionError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.write_eof()
