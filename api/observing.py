"""How answers are measured: by the route as it is written in the code, never by the path."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs import metrics, tracing

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Whatever a stranger can invent, and files of the page, share one label.
OTHER = "other"
#: Asked so often, and by machines only, that nobody wants to see them as traces.
UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})


@dataclass
class Timing:
    """One request under way."""

    begun_s: float
    #: How long its client wanted it to be held.
    held_s: float = 0.0
    #: When its answer began, and its status code; None before that.
    answered_s: float | None = None
    status: int | None = None


_timing: ContextVar[Timing | None] = ContextVar("timing", default=None)


@contextmanager
def held() -> Iterator[None]:
    """Around the time that a client asked its answer to be held; that is no slowness of ours."""
    begun_s = time.perf_counter()
    with metrics.HTTP_WAITERS.track_inprogress():
        try:
            yield
        finally:
            if timing := _timing.get():
                timing.held_s += time.perf_counter() - begun_s


class Observed:
    """ASGI middleware, outermost: times every request until its answer begins, and traces it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        timing = Timing(time.perf_counter())
        _timing.set(timing)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                timing.answered_s, timing.status = time.perf_counter(), message["status"]
            await send(message)

        try:
            if tracing.is_on() and scope["path"] not in UNTRACED:
                await self._traced(scope, receive, noted, timing)
            else:
                await self.app(scope, receive, noted)
        except Exception:
            # Whoever is further out turns it into this answer.
            timing.status = timing.status or 500
            raise
        finally:
            _measure(scope, timing)

    async def _traced(self, scope: Scope, receive: Receive, send: Send, timing: Timing) -> None:
        """With the attributes of OpenTelemetry's semantic conventions for HTTP servers."""
        parent = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
        method = _method(scope)
        with tracing.span(method, parent=parent, kind=tracing.SERVER) as span:
            try:
                await self.app(scope, receive, send)
            finally:
                span.update_name(f"{method} {route_of(scope)}")
                span.set_attribute("http.request.method", method)
                span.set_attribute("http.route", route_of(scope))
                span.set_attribute("http.response.status_code", timing.status or 500)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else OTHER


def route_of(scope: Scope) -> str:
    """The route that answered, as `/v1/jobs/{job_id}`; known once it has."""
    return getattr(scope.get("route"), "path", OTHER)


def _measure(scope: Scope, timing: Timing) -> None:
    # Who leaves before his answer gets none.
    status = str(timing.status) if timing.status else OTHER
    took_s = (timing.answered_s or time.perf_counter()) - timing.begun_s - timing.held_s
    metrics.HTTP_SECONDS.labels(_method(scope), route_of(scope), status).observe(max(took_s, 0.0))
