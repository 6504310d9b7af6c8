"""The `darkroom-server` command: starts the whole stack, or one part of it."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from pydantic import ValidationError

from jobs.settings import Settings
from local.errors import StackError
from local.supervisor import Supervisor

if TYPE_CHECKING:
    from local.stack import Stack

app = typer.Typer(
    help="Run Darkroom, the self-hosted text-to-image service.",
    no_args_is_help=True,
    add_completion=False,
)

webhooks = typer.Typer(help="Webhooks, by which clients are told of their jobs.")
app.add_typer(webhooks, name="webhooks")

SHIPPED_MODELS = "shapes-sd,shapes-janus"


@app.command()
def api() -> None:
    """Serve the API; needs Redis and S3 (see the DARKROOM_ settings)."""
    _settings()
    _become("api")


@app.command()
def worker() -> None:
    """Run a worker; needs Redis and S3 (see the DARKROOM_ settings)."""
    _settings()
    _become("worker")


@app.command()
def fetch() -> None:
    """Download the weights of DARKROOM_MODELS, so that a worker finds them where it looks."""
    _settings()
    _become("worker.fetch")


@app.command()
def check() -> None:
    """Tell in a line each what is wrong with Redis and the bucket."""
    _settings()
    _become("jobs.checks")


@app.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def keys(context: typer.Context) -> None:
    """Create, list and revoke API keys."""
    _settings()
    _become("jobs.access.command", *context.args)


@app.command()
def sweep() -> None:
    """Delete the pictures that have outlived their jobs, as workers do every hour."""
    _settings()
    _become("jobs.retention")


@webhooks.command("test")
def webhooks_test(
    url: Annotated[str, typer.Argument(help="The http(s) address of the receiver.")],
) -> None:
    """Send a signed event to a receiver and print what it answers; exit code 1 unless it is 2xx."""
    _settings()
    _become("jobs.webhooks.trial", url)


@app.command()
def up(
    prompt: Annotated[str | None, typer.Option(help="Make this picture once all is up.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop after the picture.")] = False,
    models: Annotated[
        str, typer.Option("--model", help="Models of the catalogue to serve, by comma.")
    ] = SHIPPED_MODELS,
    output: Annotated[Path, typer.Option(help="The folder for the picture.")] = Path("out"),
    folder: Annotated[Path, typer.Option(help="The folder for the stack's state.")] = Path("var"),
) -> None:
    """Start Redis, an S3 server, the API and a worker on this machine, until Ctrl-C."""
    settings = _settings()
    names = tuple(name.strip() for name in models.split(",") if name.strip())
    try:
        code = asyncio.run(_up(settings, folder, names, prompt, output, once))
    except StackError as error:
        _give_up(str(error))
    raise typer.Exit(code)


async def _up(
    settings: Settings,
    folder: Path,
    models: tuple[str, ...],
    prompt: str | None,
    output: Path,
    once: bool,
) -> int:
    """Run the stack; the exit code is the picture's, when one was asked for."""
    stopping = _stop_signal()
    stack = _stack(settings, folder, models)
    async with Supervisor() as supervisor:
        starting = asyncio.create_task(_start(supervisor, stack))
        await _first(stopping, starting)
        if not starting.done():
            starting.cancel()
            return 130
        starting.result()
        code = 0
        if prompt is not None:
            picture = asyncio.create_task(_picture(supervisor, stack.url, prompt, models, output))
            await _first(stopping, picture)
            if not picture.done():
                picture.cancel()
                return 130
            code = picture.result()
        if once:
            return code
        print(
            f"\n  Darkroom is at {stack.url} (its API: {stack.url}/docs). Ctrl-C stops it.\n",
            flush=True,
        )
        await supervisor.unless_failed(asyncio.ensure_future(stopping.wait()))
        print("\nstopping ...")
        return code


def _stack(settings: Settings, folder: Path, models: tuple[str, ...]) -> "Stack":
    """The local stack. What it needs, a machine that runs only API or worker does not have."""
    try:
        from local.stack import Stack
    except ImportError as error:
        raise StackError(f"no {error.name}: install darkroom-server[local]") from None
    return Stack(settings, folder, models)


async def _start(supervisor: Supervisor, stack: "Stack") -> None:
    await supervisor.start(*stack.stores())
    await supervisor.start(*stack.services())


async def _picture(
    supervisor: Supervisor, url: str, prompt: str, models: tuple[str, ...], output: Path
) -> int:
    """Make a picture as any user would: with the client, over HTTP."""
    print(f'\n  "{prompt}"', flush=True)
    supervisor.hold_logs()
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "darkroom", "generate"),
        *("--url", url, "--output", str(output), "--model", models[0], "--", prompt),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        saved, _ = await supervisor.unless_failed(asyncio.ensure_future(client.communicate()))
    finally:
        if client.returncode is None:
            client.terminate()
            await client.wait()
        supervisor.show_logs()
    for path in saved.decode().splitlines():
        print(f"\n  Your picture is {path}", flush=True)
    assert client.returncode is not None
    return client.returncode


async def _first(stopping: asyncio.Event, work: asyncio.Task[object]) -> None:
    """Wait for the work, or for the word to stop."""
    told = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({told, work}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()


def _stop_signal() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def _settings() -> Settings:
    """The settings, or one line for each that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        for item in error.errors():
            name = "_".join(str(part) for part in item["loc"]).upper()
            typer.echo(f"darkroom-server: DARKROOM_{name}: {item['msg']}", err=True)
        raise typer.Exit(2) from None


def _become(module: str, *arguments: str) -> NoReturn:
    """Turn this process into another module's, so that signals reach it directly."""
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def _give_up(reason: str) -> NoReturn:
    typer.echo(f"darkroom-server: {reason}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="darkroom-server")
