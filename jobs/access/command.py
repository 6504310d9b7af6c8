"""`darkroom-server keys`: create, list and revoke API keys."""

import asyncio
import base64
import json
import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from jobs.access.keyring import Keyring
from jobs.access.model import USER_SCOPES, ApiKey, Limits, Scope
from jobs.access.secret import KeySecret
from jobs.connection import connect
from jobs.errors import JobError
from jobs.exchange import Exchange
from jobs.settings import settings
from jobs.webhooks.model import Webhook
from jobs.webhooks.signing import PREFIX as WEBHOOK_PREFIX
from jobs.webhooks.targets import ForbiddenTargetError, Guard

app = typer.Typer(
    help="API keys: who may use the service, as which tenant, and how much.",
    no_args_is_help=True,
    add_completion=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
T = TypeVar("T")

#: What is kept of a key and shown to nobody.
HIDDEN: Final = {"secret_sha256", "webhook_secret"}


@app.command()
def create(
    tenant: Annotated[str, typer.Option(help="Whose jobs the key submits and sees.")],
    name: Annotated[str, typer.Option(help="What to tell it apart by.")] = "",
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="What it may do; give it several times for several. jobs:read and "
            "jobs:write by default."
        ),
    ] = None,
    jobs_per_minute: Annotated[int | None, typer.Option(help="Jobs submitted a minute.")] = None,
    images_per_day: Annotated[int | None, typer.Option(help="Pictures asked for a day.")] = None,
    unfinished_jobs: Annotated[int | None, typer.Option(help="Jobs unfinished at once.")] = None,
    webhook: Annotated[
        str | None, typer.Option(help="Tell this address of jobs that name no webhook themselves.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a key and print it. It can be seen this once only.

    With a webhook, the secret that this key's webhooks are signed with is printed as well.
    """
    signs_by = _webhook_secret() if webhook else ""
    try:
        limits = Limits(
            jobs_per_minute=jobs_per_minute,
            images_per_day=images_per_day,
            unfinished_jobs=unfinished_jobs,
        )
        told = Webhook(url=webhook) if webhook else None
        if told:
            Guard(settings().webhook_allow).check(told.url)
        key, secret = _with_keyring(
            lambda keyring: keyring.create(
                tenant=tenant,
                name=name,
                scopes=frozenset(scope or USER_SCOPES),
                limits=limits,
                webhook=told,
                webhook_secret=signs_by,
            )
        )
    except ValidationError as error:
        first = error.errors()[0]
        _give_up(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    except ForbiddenTargetError as error:
        _give_up(f"webhook: {error}")
    if as_json:
        signing = {"webhook_secret": signs_by} if signs_by else {}
        typer.echo(json.dumps({**_shown(key), "key": secret.text, **signing}))
        return
    # Standard output holds what is secret and nothing else: KEY=$(darkroom-server keys create ...)
    typer.echo(secret.text)
    if signs_by:
        typer.echo(signs_by)
    typer.echo(f"key {key.id} of tenant {key.tenant}; it is not shown again", err=True)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List all keys, revoked ones too."""
    found = _with_keyring(lambda keyring: keyring.all())
    if as_json:
        typer.echo(json.dumps([_shown(key) for key in found]))
        return
    table = Table("id", "tenant", "name", "scopes", "limits", "created", "revoked", box=None)
    for key in found:
        table.add_row(*_row(key))
    # A pipe gets whole lines.
    Console(width=None if sys.stdout.isatty() else 200, markup=False).print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    as_json: Json = False,
) -> None:
    """Revoke a key: within a second it opens nothing any more."""
    # Whoever has the whole key at hand may mean that one.
    secret = KeySecret.read(key_id)
    key = _with_keyring(lambda keyring: keyring.revoke(secret.id if secret else key_id))
    if as_json:
        typer.echo(json.dumps(_shown(key)))
    else:
        typer.echo(f"key {key.id} of tenant {key.tenant} is revoked")


def _with_keyring(use: Callable[[Keyring], Awaitable[T]]) -> T:
    async def run() -> T:
        redis = connect(settings())
        try:
            return await use(Keyring(Exchange(redis)))
        finally:
            await redis.aclose()

    try:
        return asyncio.run(run())
    except JobError as error:
        _give_up(str(error))


def _webhook_secret() -> str:
    return WEBHOOK_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _shown(key: ApiKey) -> dict[str, Any]:
    shown = key.model_dump(mode="json", exclude=HIDDEN)
    return {**shown, "scopes": sorted(key.scopes)}


def _row(key: ApiKey) -> tuple[str, ...]:
    limits = key.limits.model_dump(exclude_none=True)
    return (
        key.id,
        key.tenant,
        key.name,
        " ".join(sorted(key.scopes)),
        ", ".join(f"{most} {field.replace('_', ' ')}" for field, most in limits.items()),
        f"{key.created_at:%Y-%m-%d %H:%M}",
        f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "",
    )


def _give_up(reason: str) -> NoReturn:
    typer.echo(f"darkroom-server: {reason}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="darkroom-server keys")
