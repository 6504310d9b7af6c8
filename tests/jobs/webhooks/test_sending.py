"""One POST, over real sockets: pinned to the checked address, following nothing, within bounds."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address

import pytest
import trustme
from receiver import Receiver, receiving

from jobs.webhooks.sending import Answer, Sender
from jobs.webhooks.targets import Address, Guard
from local.ports import free_port

ALLOW = ["127.0.0.1"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


async def post(url: str, guard: Guard | None = None, **options: object) -> Answer:
    chosen = {"timeout_s": 5.0, "most": 4, **options}
    sender = Sender(guard or Guard(ALLOW), **chosen)  # type: ignore[arg-type]
    try:
        return await sender.post(url, {"webhook-id": "msg_1"}, '{"type": "webhook.test"}')
    finally:
        await sender.aclose()


@asynccontextmanager
async def speaking(say: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that says the same to whoever connects; waits until it has said it."""
    over = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await say(writer)
        writer.close()
        over.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with asyncio.timeout(10):
        await over.wait()
    server.close()
    await server.wait_closed()


class Liar:
    """A name server that answers differently each time."""

    def __init__(self, *answers: str) -> None:
        self.asked = 0
        self._answers = answers

    async def __call__(self, host: str) -> Sequence[Address]:
        self.asked += 1
        return [ip_address(self._answers[min(self.asked, len(self._answers)) - 1])]


async def test_a_receiver_gets_the_body_as_json(receiver: Receiver) -> None:
    answer = await post(receiver.url)
    (received,) = receiver.received
    assert (answer.status_code, answer.error, answer.is_taken) == (204, None, True)
    assert received.path == "/hook?token=of-the-receiver"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert received.body == b'{"type": "webhook.test"}'


async def test_without_leave_nothing_on_this_machine_is_reached(receiver: Receiver) -> None:
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"):
        answer = await post(f"http://{host}:{receiver.port}/", Guard())
        assert answer.error is not None
        assert "DARKROOM_WEBHOOK_ALLOW" in answer.error
    assert not receiver.received


async def test_the_address_that_was_checked_is_the_one_connected_to(receiver: Receiver) -> None:
    """A name that is outside when it is checked, and inside a moment later, gains nothing."""
    name_server = Liar("127.0.0.1", "169.254.169.254")
    url = f"http://rebinding.example:{receiver.port}/"
    answer = await post(url, Guard(ALLOW, name_server))
    assert (answer.is_taken, name_server.asked) == (True, 1)
    assert receiver.received[0].headers["Host"] == f"rebinding.example:{receiver.port}"


async def test_a_name_that_turns_inside_is_refused_at_the_next_attempt(receiver: Receiver) -> None:
    name_server = Liar("127.0.0.1", "127.0.0.2")
    sender = Sender(Guard(ALLOW, name_server), timeout_s=5, most=1)
    url = f"http://rebinding.example:{receiver.port}/"
    first, second = [await sender.post(url, {}, "{}") for _ in range(2)]
    await sender.aclose()
    assert first.is_taken
    assert second.error is not None
    assert "not a public address" in second.error
    assert len(receiver.received) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(receiver: Receiver, code: int) -> None:
    with receiving() as inner:
        receiver.answers, receiver.headers = [code], {"location": inner.url}
        answer = await post(receiver.url)
        assert (answer.status_code, answer.is_taken) == (code, False)
        assert not inner.received


async def test_no_proxy_of_the_environment_is_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await post(receiver.url)).is_taken
        assert not proxy.received


async def test_a_receiver_that_is_slow_is_not_waited_for(receiver: Receiver) -> None:
    receiver.may_answer.clear()
    answer = await post(receiver.url, timeout_s=0.3)
    assert (answer.status_code, answer.error) == (
        None,
        "there was no whole answer within 0.3 s",
    )


async def test_an_answer_that_trickles_for_ever_is_cut_off() -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with speaking(trickle) as url:
        answer = await post(url, timeout_s=0.3)
    assert answer.error == "there was no whole answer within 0.3 s"


async def test_of_a_huge_answer_only_the_beginning_is_read(receiver: Receiver) -> None:
    receiver.answers, receiver.body = [200], b"x" * 10_000_000
    answer = await post(receiver.url)
    assert answer.is_taken
    assert 4_096 <= len(answer.body) <= 4_096 + 65_536


async def test_what_is_no_http_or_not_there_is_an_answer_too() -> None:
    async def mumble(writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xff no HTTP\r\n\r\n")

    async with speaking(mumble) as url:
        mumbled = await post(url)
    refused = await post(f"http://127.0.0.1:{free_port()}/")
    unknown = await post("http://nowhere.invalid/")
    assert (mumbled.error or "").startswith("the connection broke ")
    assert (refused.error or "").startswith("no connection: ")
    assert unknown.error == "no connection: nowhere.invalid has no address"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize(
    ("certified", "is_taken"), [("hooks.example", True), ("other.example", False)]
)
async def test_tls_is_held_against_the_name_though_the_address_is_pinned(
    authority: trustme.CA, certified: str, is_taken: bool
) -> None:
    server, client = (
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        ssl.create_default_context(),
    )
    authority.issue_cert(certified).configure_cert(server)
    authority.configure_trust(client)
    named: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: named.append(name)
    with receiving(server) as receiver:
        url = f"https://hooks.example:{receiver.port}/"
        answer = await post(url, Guard(ALLOW, Liar("127.0.0.1")), ssl_context=client)
        assert named == ["hooks.example"]
        assert answer.is_taken is is_taken
        assert bool(receiver.received) is is_taken


async def test_a_certificate_of_nobody_known_is_refused(authority: trustme.CA) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("hooks.example").configure_cert(server)
    with receiving(server) as receiver:
        url = f"https://hooks.example:{receiver.port}/"
        answer = await post(url, Guard(ALLOW, Liar("127.0.0.1")))
        assert "CERTIFICATE_VERIFY_FAILED" in (answer.error or "")
        assert not receiver.received
