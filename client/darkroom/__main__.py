"""`python -m darkroom` is the `darkroom` command."""

from darkroom.command import app

app(prog_name="darkroom")
