"""`inspect`: how a picture was made, and the same again."""

from pathlib import Path
from typing import Annotated

import typer

from darkroom import making
from darkroom.command.developing import Output, Previews, save, submit_and_wait, tell_paths
from darkroom.command.display import show
from darkroom.command.session import Json, Timeout, Url, plain, print_json, session, told_errors
from darkroom.errors import PictureError
from darkroom.making import Making


def inspect(
    picture: Annotated[Path, typer.Argument(help="A PNG, JPEG or WebP.")],
    resubmit: Annotated[bool, typer.Option("--resubmit", help="Make it again.")] = False,
    url: Url = None,
    output: Output = Path(),
    preview: Previews = "auto",
    timeout_s: Timeout = None,
    as_json: Json = False,
) -> None:
    """Print how a picture was made; of other tools' pictures, what they tell.

    Example: darkroom inspect circle-7.png --resubmit -o again
    """
    with told_errors():
        made = making.read(picture)
        if resubmit and made.request is None:
            raise PictureError(f"{picture} holds no request of Darkroom's to submit again")
    if made.request is None or not resubmit:
        print_json(made) if as_json else typer.echo(_described(made))
        return
    with session(url) as darkroom, show(preview) as display:
        job = submit_and_wait(darkroom, made.request, display, timeout_s)
        paths = save(darkroom, job, output, display)
    tell_paths(job, paths, as_json)


def _described(made: Making) -> str:
    """The parameters, and below them what they leave out."""
    lines = [made.parameters or f"request: {made.request}"]
    told = {"source": made.source, "revision": made.revision}
    lines.extend(f"{name}: {value}" for name, value in told.items() if value)
    return plain("\n".join(lines))
