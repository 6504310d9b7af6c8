"""A way to a real server that can be cut, and mended, while both ends live."""

import asyncio

from bench.chaos.balancer import copy
from local.ports import free_port


class Gate:
    """Forwards a port of its own to another one of this machine, while it is open."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Refuse new connections and drop those there are."""
        if self._server:
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer, far_writer}
        self._open |= ends
        try:
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        finally:
            self._open -= ends
            for end in ends:
                end.close()
