"""`config`: which service, and the key to it."""

import sys
from typing import Annotated

import typer

from darkroom import config as configuration
from darkroom.command.session import Json, print_json, told_errors
from darkroom.config import Service


def config(
    url: Annotated[str | None, typer.Option(help="Keep this address.")] = None,
    key: Annotated[
        bool, typer.Option("--key", help="Ask for a key and keep it; reads it from a pipe.")
    ] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Keep nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Keep the address and the key of your service, or print what is in use.

    Both go to a file that only you can read. DARKROOM_URL and DARKROOM_API_KEY go before it; a kept
    key goes to the kept address only. The key itself is never printed.

    Example: darkroom config --url https://darkroom.example --key
    """
    with told_errors():
        if url is not None or key or forget:
            _keep(url, _read_key() if key else None, forget)
        service = configuration.find()
    told = {"url": service.url, "has_key": bool(service.key), "file": str(configuration.path())}
    if as_json:
        print_json(told)
        return
    typer.echo(f"address: {service.url}")
    typer.echo(f"key:     {'set' if service.key else 'none'}")
    typer.echo(f"file:    {configuration.path()}")


def _keep(url: str | None, key: str | None, forget: bool) -> None:
    kept = {} if forget else dict(configuration.read())
    if url is not None and url != kept.get("url"):
        # A key belongs to its address.
        kept = {"url": url}
    if key is not None:
        kept["key"] = key
    # Refuses what could not be used.
    Service(**kept)
    configuration.write(kept)


def _read_key() -> str:
    if sys.stdin.isatty():
        answer: str = typer.prompt("Key", hide_input=True, err=True)
        return answer.strip()
    return sys.stdin.readline().strip()
