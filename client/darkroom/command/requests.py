"""The options of a request, given to every command that makes one."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, get_type_hints

import typer

from darkroom.options import Options

#: What the help says of each; the types are those of `Options`.
HELP: Final = {
    "model": "A name that `darkroom models` lists.",
    "images": "How many pictures.",
    "width": "Pixels.",
    "height": "Pixels.",
    "steps": "Denoising steps.",
    "guidance_scale": "The pull towards the prompt.",
    "negative_prompt": "What it should not show.",
    "scheduler": "A scheduler of the model.",
    "temperature": "How freely tokens are drawn.",
    "top_p": "Draw among tokens up to this probability.",
    "top_k": "Draw among so many of the likeliest tokens.",
    "seed": "Picture i is made from seed + i.",
    "output_format": "How the pictures are encoded.",
    "output_quality": "How close JPEG and WebP come to the picture, from 1 to 100.",
    "lane": "`batch` waits until nobody else does.",
    "labels": "name:value, to find the job by; may be given again.",
}

Prompt = Annotated[str, typer.Argument(help="What the picture should show.")]


def takes_a_request(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option of a request; those used reach it as one `options`."""

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        asked = {name: given.pop(name) for name in HELP}
        asked["labels"] = dict(map(_label, asked["labels"] or ()))
        options = {name: value for name, value in asked.items() if value not in (None, {})}
        command(**given, options=options)

    signature = inspect.signature(command, eval_str=True)
    own = [each for name, each in signature.parameters.items() if name != "options"]
    parameters = [each.replace(kind=each.KEYWORD_ONLY) for each in own] + list(_parameters())
    # What typer reads a command's parameters from.
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapped


def _parameters() -> Iterator[inspect.Parameter]:
    types = {**get_type_hints(Options), "labels": list[str]}
    for name, text in HELP.items():
        # Given once, a label is one.
        flag = "--" + name.replace("_", "-").replace("labels", "label")
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=typer.Option(None, flag, help=text, rich_help_panel="Request"),
            annotation=types[name] | None,
        )


def _label(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise typer.BadParameter("a label is name:value", param_hint="--label")
    return name, value
