"""Clients that send slowly, too much, or not at all: raw bytes to a server with narrow bounds."""

import asyncio
import contextlib
import json
import time
from typing import Any

import httpx
import pytest

from api.connection import MAX_HEAD_BYTES
from jobs.settings import Settings

TIMEOUT_S = 0.5
HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    bounds = {"request_timeout_s": TIMEOUT_S, "max_connections": 16}
    return settings.model_copy(update=bounds)


class Raw:
    """A connection without a client's manners."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, http: httpx.AsyncClient) -> "Raw":
        return cls(*await asyncio.open_connection("127.0.0.1", http.base_url.port))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        # It may have hung up already, which is what is tested.
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def drip(self, data: bytes, every_s: float = 0.02) -> None:
        """A byte at a time, for as long as somebody listens."""
        for byte in data:
            if self.is_over:
                return
            await self.send(bytes([byte]))
            await asyncio.sleep(every_s)

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The status and the problem of the answer, once the other side has hung up."""
        head, _, body = (await self.rest()).partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    async def rest(self) -> bytes:
        """Whatever still comes, until the other side has hung up."""
        try:
            async with asyncio.timeout(20):
                return await self._reader.read()
        except ConnectionError:
            return b""
        finally:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    @property
    def is_over(self) -> bool:
        return self._reader.at_eof() or self._writer.transport.is_closing()


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /v1/jobs HT",
        HEAD,
        HEAD + b"Content-Length: 500\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
)
async def test_who_does_not_go_on_is_answered_and_hung_up_on(
    http: httpx.AsyncClient, start: bytes
) -> None:
    connection, begun_s = await Raw.open(http), time.monotonic()
    await connection.send(start)
    status, problem = await connection.answer()
    assert (status, problem["type"]) == (408, "/problems/request-timeout")
    assert TIMEOUT_S * 0.9 < time.monotonic() - begun_s < 10 * TIMEOUT_S


@pytest.mark.parametrize("start", [b"", HEAD + b"Content-Length: 50000\r\n\r\n"])
async def test_who_drips_gets_no_more_time_than_others(
    http: httpx.AsyncClient, start: bytes
) -> None:
    connection, begun_s = await Raw.open(http), time.monotonic()
    await connection.send(start)
    await connection.drip(b"GET /v1/models HTTP/1.1\r\nX-Slow: " + b"a" * 50_000)
    await connection.rest()
    assert time.monotonic() - begun_s < 20 * TIMEOUT_S
    assert (await http.get("/healthz")).status_code == 200


async def test_headers_without_an_end_are_cut_off(http: httpx.AsyncClient) -> None:
    connection = await Raw.open(http)
    await connection.send(b"GET /v1/models HTTP/1.1\r\nHost: here\r\n")
    sent = 0
    for number in range(10_000):
        if connection.is_over:
            break
        line = f"X-{number}: {'a' * 1_000}\r\n".encode()
        sent += len(line)
        await connection.send(line)
        await asyncio.sleep(0)
    await connection.rest()
    # What the sockets take on the way counts too.
    assert sent < 100 * MAX_HEAD_BYTES


async def test_a_large_body_in_time_is_no_large_head(http: httpx.AsyncClient) -> None:
    body = {"prompt": "a circle", "metadata": {"a": "b" * 500_000}}
    for _ in range(3):
        answer = await http.post("/v1/jobs", json=body)
        assert answer.json()["errors"][0]["field"] == "metadata"


async def test_a_connection_that_waits_between_requests_or_for_an_answer_is_not_slow(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.post("/v1/jobs", params={"wait": 3 * TIMEOUT_S}, json={"prompt": "a star"})
    assert answer.status_code == 202
    await asyncio.sleep(2 * TIMEOUT_S)
    assert (await http.get(answer.headers["location"])).status_code == 200


async def test_beyond_the_last_connection_is_a_503_at_once_and_a_place_comes_free(
    http: httpx.AsyncClient,
) -> None:
    held = [await Raw.open(http) for _ in range(16)]
    late = await Raw.open(http)
    status, problem = await late.answer()
    assert (status, problem["type"]) == (503, "/problems/too-many-connections")
    for connection in held:
        await connection.answer()
    assert (await http.get("/healthz")).status_code == 200


async def test_a_websocket_is_not_offered(http: httpx.AsyncClient) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    answer = await http.get("/v1/models", headers={**upgrade, "Sec-WebSocket-Key": "a" * 24})
    assert answer.status_code == 200
