"""The `darkroom` command."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from darkroom.client import DEFAULT_URL, Darkroom
from darkroom.errors import DarkroomError
from darkroom.model import Job

app = typer.Typer(
    help="Make pictures with a Darkroom service.", no_args_is_help=True, add_completion=False
)

Url = Annotated[str, typer.Option(envvar="DARKROOM_URL", help="The address of the service.")]


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the picture should show.")],
    url: Url = DEFAULT_URL,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder that pictures are saved to.")
    ] = Path(),
    model: Annotated[str | None, typer.Option(help="A name that `darkroom models` lists.")] = None,
    images: Annotated[int, typer.Option(help="How many pictures.")] = 1,
    width: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(help="The pull towards the prompt.")
    ] = None,
    negative_prompt: Annotated[str, typer.Option(help="What it should not show.")] = "",
    seed: Annotated[int | None, typer.Option(help="Picture i is made from seed + i.")] = None,
) -> None:
    """Make pictures and save them.

    Example: darkroom generate "a red circle on a blue background" --images 4
    """
    asked = {
        "model": model,
        "images": images,
        "width": width,
        "height": height,
        "steps": steps,
        "guidance_scale": guidance_scale,
        "negative_prompt": negative_prompt,
        "seed": seed,
    }
    options = {name: value for name, value in asked.items() if value is not None}
    show = ProgressLine()
    with _clear_errors(), Darkroom(url) as darkroom:
        job = darkroom.generate(prompt, on_change=show, **options)
        output.mkdir(parents=True, exist_ok=True)
        for image in job.images:
            name = f"{_slug(prompt)}-{image.seed}{image.suffix}"
            typer.echo(darkroom.download(image, output / name))


@app.command()
def models(url: Url = DEFAULT_URL) -> None:
    """List the models on offer."""
    with _clear_errors(), Darkroom(url) as darkroom:
        for model in darkroom.models():
            size = "x".join(map(str, model.size["default"]))
            typer.echo(f"{model.name:<16} {size:<10} {model.workers} workers  {model.title}")


class ProgressLine:
    """Tells how a job goes on: one line that changes on a terminal, a line a stage elsewhere."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._last = ""

    def __call__(self, job: Job) -> None:
        text = _describe(job)
        if self._on_terminal:
            end = "\n" if job.finished else ""
            sys.stderr.write(f"\r\x1b[2K{text}{end}")
        elif text != self._last:
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
        self._last = text


def _describe(job: Job) -> str:
    match job.status:
        case "queued" if job.queue is not None and not job.queue.workers:
            return "queued: no worker serves this model yet"
        case "queued":
            return f"queued: {job.queue.position if job.queue else 0} jobs ahead"
        case "running":
            step, steps = job.progress.step, job.progress.steps
            filled = 20 * step // max(steps, 1)
            return f"running [{'#' * filled}{'.' * (20 - filled)}] step {step} of {steps}"
        case status:
            return status


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Print an error as one line and exit with 1."""
    try:
        yield
    except DarkroomError as error:
        typer.echo(f"darkroom: {error}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"darkroom: the picture cannot be saved ({error})", err=True)
        raise typer.Exit(1) from None


def _slug(prompt: str) -> str:
    """A file name of a prompt's first words: letters, digits and dashes only."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:48].strip("-") or "picture"
