"""`generate`, `submit` and `watch`: from a prompt to files."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from darkroom.client import Darkroom
from darkroom.command.display import Display, PreviewChoice, show
from darkroom.command.requests import Prompt, takes_a_request
from darkroom.command.session import Json, Timeout, Url, print_json, session
from darkroom.errors import DarkroomError, with_pictures
from darkroom.events import Event, Preview, name_of
from darkroom.model import Job

Output = Annotated[
    Path, typer.Option("--output", "-o", help="The folder that pictures are saved to.")
]
Previews = Annotated[PreviewChoice, typer.Option("--preview", help="Show previews inline.")]


@takes_a_request
def generate(
    prompt: Prompt,
    options: Mapping[str, Any],
    url: Url = None,
    output: Output = Path(),
    preview: Previews = "auto",
    timeout_s: Timeout = None,
    as_json: Json = False,
) -> None:
    """Make pictures and save them.

    Progress goes to standard error, the pictures' paths to standard output. Ctrl-C cancels the job.

    Example: darkroom generate "a red circle on a blue background" --images 4 -o out
    """
    with session(url) as darkroom, show(preview) as display:
        job = submit_and_wait(darkroom, {"prompt": prompt, **options}, display, timeout_s)
        paths = save(darkroom, job, output, display)
    tell_paths(job, paths, as_json)


@takes_a_request
def submit(
    prompt: Prompt, options: Mapping[str, Any], url: Url = None, as_json: Json = False
) -> None:
    """Put a job in line and print its id.

    Example: darkroom watch $(darkroom submit "a green star on a white background") -o out
    """
    with session(url) as darkroom:
        job = darkroom.submit(prompt, **options)
    print_json(job) if as_json else typer.echo(job.id)


def watch(
    job_id: Annotated[str, typer.Argument(help="What `darkroom submit` printed.")],
    url: Url = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Save the pictures to this folder.")
    ] = None,
    preview: Previews = "auto",
    timeout_s: Timeout = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as JSON.")] = False,
) -> None:
    """Follow a job to its end. Ctrl-C stops watching, not the job.

    Example: darkroom watch 01a20f8b0a9c7efcb80c6d549a992313 -o out
    """
    with session(url) as darkroom, Display() if as_json else show(preview) as display:
        tell = _print_event if as_json else display
        job = with_pictures(darkroom.wait(job_id, on_event=tell, timeout_s=timeout_s))
        paths = save(darkroom, job, output, display) if output else []
    tell_remarks(job)
    for path in paths:
        typer.echo(path, err=as_json)


def submit_and_wait(
    darkroom: Darkroom, request: Mapping[str, Any], display: Display, timeout_s: float | None
) -> Job:
    """A job with its pictures. Whoever gives up on it does not leave it to others.

    Raises:
        JobFailedError: it has none.
    """
    job = darkroom.submit(**request)
    try:
        return with_pictures(darkroom.wait(job, on_event=display, timeout_s=timeout_s))
    except KeyboardInterrupt:
        with suppress(DarkroomError):
            darkroom.cancel(job)
        raise


def save(darkroom: Darkroom, job: Job, folder: Path, display: Display) -> list[Path]:
    """Every picture of a job, in files named after its prompt and seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for image in job.images:
        path = folder / f"{_slug(str(job.request['prompt']))}-{image.seed}{image.suffix}"
        content = darkroom.fetch(image)
        path.write_bytes(content)
        paths.append(path)
        display.picture(image.index, content)
    return paths


def tell_paths(job: Job, paths: list[Path], as_json: bool) -> None:
    if as_json:
        print_json({"job": job, "paths": [str(path) for path in paths]})
        return
    tell_remarks(job)
    for path in paths:
        typer.echo(path)


def tell_remarks(job: Job) -> None:
    """What the pictures are not as asked for, each thing once."""
    for remark in dict.fromkeys(remark for image in job.images for remark in image.remarks):
        typer.echo(remark, err=True)


def _print_event(event: Event) -> None:
    """An event as a line; a preview's bytes are nothing to read."""
    fields = {"index": event.index, "step": event.step} if isinstance(event, Preview) else event
    print_json({"event": name_of(event), "data": fields})


def _slug(prompt: str) -> str:
    """A file name of a prompt's first words: letters, digits and dashes only."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:48].strip("-") or "picture"
