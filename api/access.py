"""Who asks is known, and may do what it asks for, before anything else happens to a request."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import Depends, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import rate_limits
from api.parts import Parts
from api.problems import Problem, problem_of
from jobs.access.model import ANYBODY, Caller
from jobs.access.model import Scope as Permission
from jobs.access.secret import PREFIX, KeySecret
from jobs.settings import Settings, is_loopback

#: What needs no key: these addresses, and all within these folders. It tells nothing of anybody.
OPEN: Final = frozenset(("/", "/docs", "/redoc", "/openapi.json", "/healthz", "/readyz"))
OPEN_FOLDERS: Final = ("/page/", "/problems/", "/static-offline-docs/")
#: What needs more than a user's scopes.
SPECIAL: Final[Mapping[str, Permission]] = {"/metrics": Permission.METRICS_READ}
#: What only looks. Everything else changes something.
SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
#: Proxies tell of themselves by any of these (RFC 7239, RFC 9110, and the customs before them).
OF_PROXIES: Final = frozenset((b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"))

#: Where clients know no other way than Basic. Elsewhere browsers would ask for a user's name.
BASIC: Final = "/sdapi/"

#: A problem in the form that the clients of some addresses expect.
Refusal = Callable[[Problem], Response]


class Access:
    """ASGI middleware: puts the caller into the request's state, and refuses whoever may not ask.

    A key comes as a bearer token (RFC 6750), or as the password of Basic authentication (RFC 7617)
    from clients that know nothing else.
    """

    def __init__(
        self, app: ASGIApp, *, settings: Settings, refusals: Mapping[str, Refusal]
    ) -> None:
        """
        Args:
            refusals: for each address's beginning that is not our own, how a problem is told there.
        """
        self.app, self._settings, self._refusals = app, settings, refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["path"]):
            return await self.app(scope, receive, send)
        parts: Parts = scope["app"].state.parts
        try:
            caller = await self._caller(scope, parts)
        except Exception as error:
            problem = problem_of(Request(scope), error)
            return await self._refused(problem, scope["path"])(scope, receive, send)
        scope.setdefault("state", {})["caller"] = caller
        if caller.limits.are_there and scope["method"] not in SAFE_METHODS:
            send = _with_allowances(send, parts, caller)
        return await self.app(scope, receive, send)

    async def _caller(self, scope: Scope, parts: Parts) -> Caller:
        """
        Raises:
            Problem: there is no valid key where one is needed, or its scopes do not suffice.
            StoreUnavailableError: Redis cannot be asked for the key.
        """
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = credentials(headers.get(b"authorization", b"").decode("latin-1"))
        if not given.startswith(PREFIX) and self._lets_anybody_in(headers):
            # Clients that insist on sending some key may send any that is not one of ours.
            return ANYBODY
        secret = KeySecret.read(given)
        caller = await parts.keyring.holder(secret) if secret else None
        if caller is None:
            raise _unauthenticated(given, scope["path"])
        wanted = permission(scope["method"], scope["path"])
        if wanted not in caller.scopes:
            raise _forbidden(wanted)
        return caller

    def _lets_anybody_in(self, headers: Mapping[bytes, bytes]) -> bool:
        if self._settings.allow_anonymous is None:
            return self._settings.serves_anybody and _comes_from_here(headers)
        return self._settings.allow_anonymous

    def _refused(self, problem: Problem, path: str) -> Response:
        for beginning, refusal in self._refusals.items():
            if path.startswith(beginning):
                return refusal(problem)
        return problem.response()


def is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def permission(method: str, path: str) -> Permission:
    """What a key must be good for to ask this."""
    if path in SPECIAL:
        return SPECIAL[path]
    return Permission.JOBS_READ if method in SAFE_METHODS else Permission.JOBS_WRITE


def credentials(authorization: str) -> str:
    """The token or the password of an `Authorization` header; empty without any."""
    scheme, _, given = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return given.strip()
        case "basic":
            try:
                return base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return ""
    return ""


def _comes_from_here(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request reaches a loopback address straight from a client that meant to.

    One that a proxy hands on comes from anywhere. One whose host is another name was sent by a
    browser that a web page has led here by its own DNS (rebinding).
    """
    if OF_PROXIES & headers.keys():
        return False
    host = headers.get(b"host", b"").decode("latin-1")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return is_loopback(name.strip("[]"))


def _unauthenticated(given: str, path: str) -> Problem:
    challenge = 'Bearer realm="darkroom"'
    # Without an attempt the challenge tells of no error (RFC 6750, section 3.1).
    challenge += ', error="invalid_token"' if given else ""
    challenge += ', Basic realm="darkroom"' if path.startswith(BASIC) else ""
    detail = "the API key is unknown or revoked" if given else "this needs an API key"
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": challenge})


def _forbidden(wanted: Permission) -> Problem:
    challenge = f'Bearer realm="darkroom", error="insufficient_scope", scope="{wanted}"'
    detail = f"this API key lacks the scope {wanted}"
    return Problem("forbidden", detail, headers={"WWW-Authenticate": challenge})


def _with_allowances(send: Send, parts: Parts, caller: Caller) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            told = await rate_limits.headers(parts.jobs.quotas, caller)
            message = {**message, "headers": [*message["headers"], *told]}
        await send(message)

    return sending


async def _caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


#: The caller, for a route's parameters.
Asking = Annotated[Caller, Depends(_caller_of)]
