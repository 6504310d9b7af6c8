"""What all commands share: their options, the client they use, and how they end."""

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, NoReturn

import typer

from darkroom.client import Darkroom
from darkroom.command.exits import ExitCode, exit_code
from darkroom.config import KEY_VARIABLE, URL_VARIABLE
from darkroom.errors import DarkroomError, RefusedError

#: Stands for a character that is not shown.
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
#: The status of whoever has no valid key (RFC 9110, section 15.5.2).
UNAUTHORIZED: Final = 401

Url = Annotated[str | None, typer.Option(envvar=URL_VARIABLE, help="The address of the service.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0, help="Wait for so many seconds at most.")
]


@contextmanager
def session(url: str | None = None) -> Iterator[Darkroom]:
    """A client for the length of a command."""
    with told_errors(), Darkroom(url) as darkroom:
        yield darkroom


@contextmanager
def told_errors() -> Iterator[None]:
    """Tell an error in one line, and what kind it was by the exit code."""
    try:
        yield
    except DarkroomError as error:
        give_up(f"{error}{_advice(error)}", exit_code(error))
    except OSError as error:
        give_up(f"the picture cannot be saved ({error})", ExitCode.FILE)
    except KeyboardInterrupt:
        give_up("interrupted", ExitCode.INTERRUPTED)


def _advice(error: DarkroomError) -> str:
    """What to do about a refusal, where the service cannot know how it was called."""
    if not isinstance(error, RefusedError):
        return ""
    if error.status == UNAUTHORIZED:
        return f"; set {KEY_VARIABLE}, or keep a key with `darkroom config --key`"
    if error.retry_after_s:
        return f"; try again in {error.retry_after_s:.0f} s"
    return ""


def give_up(reason: str, code: ExitCode) -> NoReturn:
    typer.echo(f"darkroom: {plain(reason)}", err=True)
    raise typer.Exit(code) from None


def print_json(value: Any) -> None:
    """One line of JSON: of an answer, of several, or of what was put together from them."""
    typer.echo(json.dumps(value, default=dataclasses.asdict, ensure_ascii=not _speaks_utf8()))


def _speaks_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def plain(text: str) -> str:
    """What others wrote, without what a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else REPLACEMENT for c in text)
