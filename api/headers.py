"""What every answer tells a browser: run nothing, frame nothing, guess nothing, tell nobody."""

from typing import Final

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.settings import Settings

#: The pages at /docs begin by a script within them, and one of the two runs a worker of its own.
DOCS: Final = ("/docs", "/redoc")
DOCS_POLICY: Final = (
    "default-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
#: An answer in JSON that is shown as a page is none.
POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
ALWAYS: Final = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))

#: What scripts of other origins may send and read, where the operator lets them in.
SENT: Final = (
    *("Authorization", "Content-Type", "Idempotency-Key"),
    *("If-None-Match", "Last-Event-ID", "Prefer"),
)
READ: Final = ("ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy")


class SecurityHeaders:
    """ASGI middleware: puts beside an answer's own headers those that it lacks."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        policy = DOCS_POLICY if scope["path"].startswith(DOCS) else POLICY
        wanted = (*ALWAYS, (b"content-security-policy", policy.encode()))

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message["headers"] = list(message.get("headers", ()))
                there = {name for name, _ in own}
                own += [header for header in wanted if header[0] not in there]
            await send(message)

        return await self.app(scope, receive, guarded)


def install(app: FastAPI, settings: Settings) -> None:
    """Guard every answer; other origins' scripts read none, but for those that are allowed."""
    app.add_middleware(SecurityHeaders)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=SENT,
            expose_headers=READ,
        )
