"""What a worker tells of itself over HTTP: its metrics, and whether it lives and is ready."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from jobs import metrics

#: The event loop says so often that it turns, and is taken for hung once it has not for so long.
BEAT_EVERY_S, SILENT_S = 1.0, 30.0
#: A scraper that has nothing to say is not waited for.
READ_WITHIN_S = 5.0

PLAIN = "text/plain; charset=utf-8"
#: Status, content type and body.
Answer = tuple[HTTPStatus, str, bytes]


class Monitor:
    """Answers on threads of its own, so that a worker that hangs still says that it does."""

    def __init__(self, take_stock: Callable[[], None], is_hung: Callable[[], bool]) -> None:
        """
        Args:
            take_stock: called before each scrape, for what has to be looked at.
            is_hung: whether the device has been busy with one thing for too long.
        """
        self._take_stock, self._is_hung = take_stock, is_hung
        self._beaten_s = time.monotonic()
        #: Whether every model is loaded and jobs are taken.
        self.is_ready = False
        self._answers: dict[str, Callable[[], Answer]] = {
            "/metrics": self._metrics,
            "/health/live": self._live,
            "/health/ready": self._ready,
        }

    async def beat(self) -> None:
        """The event loop turns."""
        self._beaten_s = time.monotonic()

    def answer(self, path: str) -> Answer:
        known = self._answers.get(path)
        return known() if known else (HTTPStatus.NOT_FOUND, PLAIN, b"not found\n")

    def _metrics(self) -> Answer:
        self._take_stock()
        return HTTPStatus.OK, metrics.MEDIA_TYPE, metrics.exposition(metrics.WORKER)

    def _live(self) -> Answer:
        if time.monotonic() - self._beaten_s > SILENT_S:
            return _unavailable("the event loop hangs")
        if self._is_hung():
            return _unavailable("the device hangs")
        return HTTPStatus.OK, PLAIN, b"alive\n"

    def _ready(self) -> Answer:
        return (HTTPStatus.OK, PLAIN, b"ready\n") if self.is_ready else _unavailable("not ready")


def _unavailable(why: str) -> Answer:
    return HTTPStatus.SERVICE_UNAVAILABLE, PLAIN, f"{why}\n".encode()


@contextmanager
def serving(monitor: Monitor, host: str, port: int | None) -> Iterator[None]:
    """Serve it for the length of a block, if there is a port for that.

    Raises:
        SystemExit: the address cannot be listened on.
    """
    if port is None:
        yield
        return
    try:
        server = _Server((host, port), _handler(monitor))
    except OSError as error:
        raise SystemExit(
            f"darkroom-server: {host}:{port} (DARKROOM_WORKER_METRICS_PORT) cannot be listened on: "
            f"{error.strerror}"
        ) from None
    thread = Thread(target=server.serve_forever, name="darkroom-monitor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def _handler(monitor: Monitor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = READ_WITHIN_S

        def do_GET(self) -> None:
            status, content_type, body = monitor.answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are no news."""

    return Handler
