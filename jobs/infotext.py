"""A picture's generation parameters as text, in the form that AUTOMATIC1111's web UI gave them.

The prompt, a line of what it should not show, and a line of `name: value` pairs; many tools read
it. The form is that of `create_infotext` in its `modules/processing.py`, and of
`parse_generation_parameters` in its `modules/infotext_utils.py`, which reads it back.
"""

import json
from collections.abc import Iterator

from jobs.model import AdmittedRequest

#: How our schedulers' names end where AUTOMATIC1111 names the spacing of the noise levels apart.
SCHEDULE_TYPES = ("Karras",)


def infotext(request: AdmittedRequest, seed: int) -> str:
    """The parameters of one picture of a request.

    Args:
        seed: that picture's own.
    """
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
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
