"""A picture's generation parameters as text, in the form that AUTOMATIC1111's web UI gave them.

The prompt, a line of what it should not show, and a line of `name: value` pairs; many tools read
it. The form is that of `create_infotext` in its `modules/processing.py`, and of
`parse_generation_parameters` in its `modules/infotext_utils.py`, which reads it back.
"""

import json
import re
from collections.abc import Iterator

from jobs.model import AdmittedRequest

#: How our schedulers' names end where AUTOMATIC1111 names the spacing of the noise levels apart.
SCHEDULE_TYPES = ("Karras",)
NEGATIVE_PROMPT = "Negative prompt:"
#: A name and its value, which is in quotes where it holds a comma.
PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
#: A last line with fewer pairs is one of the prompt's.
FEWEST_PAIRS = 3


def infotext(request: AdmittedRequest, seed: int) -> str:
    """The parameters of one picture of a request.

    Args:
        seed: that picture's own.
    """
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"{NEGATIVE_PROMPT} {request.negative_prompt}")
    pairs = _parameters(request, seed)
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in pairs))
    return "\n".join(lines)


def _parameters(request: AdmittedRequest, seed: int) -> Iterator[tuple[str, object]]:
    yield "Steps", request.steps
    if request.scheduler:
        sampler, _, schedule_type = request.scheduler.rpartition(" ")
        if schedule_type in SCHEDULE_TYPES:
            yield "Sampler", sampler
            yield "Schedule type", schedule_type
        else:
            yield "Sampler", request.scheduler
    yield "CFG scale", request.guidance_scale
    for name, value in (
        ("Temperature", request.temperature),
        ("Top P", request.top_p),
        ("Top K", request.top_k),
    ):
        if value is not None:
            yield name, value
    yield "Seed", seed
    yield "Size", f"{request.width}x{request.height}"
    yield "Model", request.model


def _quoted(value: object) -> str:
    """A value as it stands, or in quotes where it would be read as more than one."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(",:\n") else text


def parsed(text: str) -> dict[str, str]:
    """The parameters of a picture by name, as AUTOMATIC1111 reads them from the text.

    The texts are `Prompt` and `Negative prompt`; a size `AxB` is two, `Size-1` and `Size-2`.
    """
    *lines, last = text.strip().split("\n")
    pairs = PAIR.findall(last)
    if len(pairs) < FEWEST_PAIRS:
        lines, pairs = [*lines, last], []
    prompt, _, negative_prompt = "\n".join(lines).partition(NEGATIVE_PROMPT)
    found = {"Prompt": prompt.strip(), "Negative prompt": negative_prompt.strip()}
    for name, value in pairs:
        if size := re.fullmatch(r"(\d+)x(\d+)", value):
            found[f"{name}-1"], found[f"{name}-2"] = size.groups()
        else:
            found[name] = _unquoted(value)
    return found if text else {}


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value.strip()
    try:
        return str(json.loads(value))
    except ValueError:
        return value
