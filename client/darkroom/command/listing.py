"""`jobs`, `models`, `cancel` and `delete`."""

import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import typer

from darkroom.command.session import Json, Url, plain, print_json, session
from darkroom.model import Job, Model

JobIds = Annotated[list[str], typer.Argument(help="Jobs' ids.")]
Status = Literal["queued", "running", "succeeded", "failed", "canceled"]


def jobs(
    url: Url = None,
    status: Annotated[Status | None, typer.Option(help="Only those that stand so.")] = None,
    model: Annotated[str | None, typer.Option(help="Only those of this model.")] = None,
    label: Annotated[str | None, typer.Option(help="Only those labelled name:value.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only those of this batch.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """List jobs, newest first.

    Example: darkroom jobs --status running --limit 5
    """
    asked = {"status": status, "model": model, "label": label, "batch": batch}
    wanted = {name: value for name, value in asked.items() if value is not None}
    with session(url) as darkroom:
        found = list(darkroom.jobs(limit=limit, **wanted))  # type: ignore[arg-type]
    if as_json:
        print_json(found)
    else:
        _print_table(("id", "status", "model", "done", "prompt"), [_job_row(job) for job in found])


def models(url: Url = None, as_json: Json = False) -> None:
    """List the models on offer; the first is the default.

    Example: darkroom models
    """
    with session(url) as darkroom:
        found = darkroom.models()
    if as_json:
        print_json(found)
    else:
        rows = [_model_row(model) for model in found]
        _print_table(("model", "size", "steps", "workers", "title"), rows)


def cancel(job_ids: JobIds, url: Url = None, as_json: Json = False) -> None:
    """Stop jobs, waiting or running, and print how each has ended.

    Example: darkroom cancel 01a20f8b0a9c7efcb80c6d549a992313
    """
    with session(url) as darkroom:
        for job_id in job_ids:
            job = darkroom.cancel(job_id)
            print_json(job) if as_json else typer.echo(f"{job.id} {job.status}")


def delete(job_ids: JobIds, url: Url = None, as_json: Json = False) -> None:
    """Forget jobs, and delete their pictures from the storage.

    Example: darkroom delete 01a20f8b0a9c7efcb80c6d549a992313
    """
    with session(url) as darkroom:
        for job_id in job_ids:
            darkroom.delete(job_id)
            if as_json:
                print_json({"id": job_id, "deleted": True})


def _job_row(job: Job) -> Sequence[str]:
    done = f"{job.progress.step}/{job.progress.steps}"
    return job.id, job.status, str(job.request["model"]), done, str(job.request["prompt"])


def _model_row(model: Model) -> Sequence[str]:
    size, steps = "x".join(map(str, model.size["default"])), str(model.steps["default"])
    return model.name, size, steps, str(model.workers), model.title


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere lines with a tab between their parts, for `cut`."""
    shown = [[plain(cell).replace("\n", " ").replace("\t", " ") for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in shown:
            typer.echo("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=box.SIMPLE_HEAD)
    for row in shown:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
