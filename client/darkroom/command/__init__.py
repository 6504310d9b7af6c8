"""The `darkroom` command. Only this part of the package needs typer and rich."""

import typer

from darkroom.command.configuring import config
from darkroom.command.developing import generate, submit, watch
from darkroom.command.inspecting import inspect
from darkroom.command.listing import cancel, delete, jobs, models

app = typer.Typer(
    help="Make pictures with a Darkroom service.",
    epilog="The exit code tells what went wrong: 1 a file, 2 the command line, 3 refused, "
    "4 unreachable, 5 the job failed, 6 the time is over, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (generate, submit, watch, jobs, cancel, delete, models, inspect, config):
    app.command()(command)
