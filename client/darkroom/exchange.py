"""What goes over the wire, as data: each call to the service is written once, for both clients.

A flow is a generator that yields what it wants done and is sent what came of it, as in httpx's own
`auth_flow`. `Darkroom` performs it blocking, `AsyncDarkroom` awaiting; neither knows the API.
"""

import json
import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from darkroom.errors import RefusedError, UnreachableError
from darkroom.model import Answer, Fault

T = TypeVar("T")
A = TypeVar("A", bound=Answer)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to the service. The outcome is a `Reply` or an `UnreachableError`."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    #: The longest silence, where it is not the client's own.
    read_timeout_s: float | None = None


@dataclass(frozen=True)
class Listen:
    """Open a stream of events. The outcome is as of the call, but for a body yet to be heard."""

    call: Call


@dataclass(frozen=True)
class Hear:
    """The next bytes of the open stream; none at its end, and none when it was cut."""


@dataclass(frozen=True)
class Fetch:
    """A picture from the storage, which gets no header of ours. The outcome is as of a call."""

    url: str


@dataclass(frozen=True)
class Save:
    """Write a file."""

    path: Path
    content: bytes


@dataclass(frozen=True)
class Pause:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True)
class Tell:
    """Hand a value to whoever runs the flow."""

    value: Any


Effect = Call | Listen | Hear | Fetch | Save | Pause | Tell
#: What a flow ends with is what the client's method returns.
Flow = Generator[Effect, Any, T]


@dataclass(frozen=True)
class Reply:
    """What the service answered."""

    status: int
    #: Names in lower case.
    headers: Mapping[str, str]
    #: Empty while it is yet to be heard.
    content: bytes = b""

    @property
    def is_stream(self) -> bool:
        return self.status == 200 and self.headers.get("content-type", "").startswith(
            "text/event-stream"
        )

    @property
    def is_error(self) -> bool:
        return self.status >= 400

    @property
    def retry_after_s(self) -> float | None:
        """In seconds only: the service sends no dates."""
        value = self.headers.get("retry-after", "")
        return float(value) if value.isdigit() else None

    def read(self, kind: type[A]) -> A:
        """
        Raises:
            UnreachableError: whatever answers here is no Darkroom.
        """
        try:
            return kind.read(json.loads(self.content))
        except (AttributeError, KeyError, TypeError, ValueError):
            detail = f"what answers is no {kind.__name__.lower()}; is this a Darkroom's address?"
            raise UnreachableError(detail) from None


#: Answers that may be others in a moment: too many requests, and a part or a proxy that is away.
PASSING: Final = frozenset({429, 502, 503, 504})
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
#: A service that wants to be left alone for longer than this is obeyed by giving up.
LONGEST_RETRY_AFTER_S = 30.0


def noting(flow: Flow[T], ended: list[T]) -> Flow[None]:
    """A flow that leaves what it ended with in a list, for those who can only iterate over it."""
    ended.append((yield from flow))


def call(request: Call, retries: int) -> Flow[Reply]:
    """Ask the service.

    Raises:
        RefusedError: it answered with a problem.
        UnreachableError: nothing answers.
    """
    reply = yield from ask(request, retries)
    if reply.is_error:
        raise refusal(reply)
    return reply


def ask(effect: Call | Fetch, retries: int) -> Flow[Reply]:
    """Do a call, again where trying again may help. Every call of ours may be repeated.

    Raises:
        UnreachableError: nothing answers.
    """
    attempt = 0
    while True:
        outcome: Reply | UnreachableError = yield effect
        wait_s = _worth_waiting_s(outcome, attempt)
        if attempt == retries or wait_s is None:
            break
        yield Pause(wait_s)
        attempt += 1
    if isinstance(outcome, UnreachableError):
        raise outcome
    return outcome


def _worth_waiting_s(outcome: Reply | UnreachableError, attempt: int) -> float | None:
    """How long to wait before the next attempt; None when that would help nothing."""
    if isinstance(outcome, UnreachableError):
        return pause_s(attempt)
    wanted_s = outcome.retry_after_s or 0.0
    if outcome.status not in PASSING or wanted_s > LONGEST_RETRY_AFTER_S:
        return None
    return max(wanted_s, pause_s(attempt))


def pause_s(attempt: int) -> float:
    """How long to wait after failed attempt `attempt`, from 0; random, so that clients spread."""
    longest: float = min(FIRST_PAUSE_S * 2**attempt, LONGEST_PAUSE_S)
    return random.uniform(longest / 2, longest)


def refusal(reply: Reply) -> RefusedError:
    """A problem (RFC 9457) as an error; of anything else, what can be told of it."""
    try:
        problem = json.loads(reply.content)
        kind = str(problem["type"]).rsplit("/", 1)[-1]
        faults = tuple(Fault.read(fault) for fault in problem.get("errors", ()))
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        kind, faults = "unknown", ()
        detail = f"{reply.status}: {reply.content[:200].decode(errors='replace')}"
    return RefusedError(reply.status, kind, detail, faults, reply.retry_after_s)
