"""AUTOMATIC1111's samplers and schedule types, and the schedulers that they are here.

It names a sampler and the spacing of its noise levels apart, where diffusers has one scheduler.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from api.problems import Fault, invalid_request

#: Schedule types: the name that clients send, and the one that they show.
SCHEDULE_TYPES: Final = {
    "automatic": "Automatic",
    "uniform": "Uniform",
    "simple": "Simple",
    "karras": "Karras",
}
#: What `automatic` stands for with a sampler (`modules/sd_samplers_kdiffusion.py`); mostly nothing.
AUTOMATIC: Final = {"dpm++ 2m": "karras"}
#: What stands at the end of a scheduler's name for a schedule type.
SUFFIXES: Final = {"karras": " karras"}


def scheduler_of(
    sampler: str | None, schedule_type: str | None, taken: Sequence[str]
) -> str | None:
    """Which of a model's schedulers is asked for, whatever the case of its name.

    Returns: None for the model's own.

    Raises:
        Problem: `invalid-request`, with what the model takes instead.
    """
    wanted = (sampler or "").strip().lower()
    if wanted in ("", "automatic", "none"):
        return None
    known = {name.lower(): name for name in taken}
    spacing = (schedule_type or "").strip().lower() or "automatic"
    if spacing not in SCHEDULE_TYPES:
        detail = f"There is no schedule type of this name; there are: {_listed(SCHEDULE_TYPES)}"
        raise invalid_request([Fault(field="scheduler", detail=detail, limit=list(SCHEDULE_TYPES))])
    usual = AUTOMATIC.get(wanted) if spacing == "automatic" else None
    if usual and wanted + SUFFIXES[usual] in known:
        return known[wanted + SUFFIXES[usual]]
    suffix = SUFFIXES.get(spacing, "")
    if wanted + suffix in known:
        return known[wanted + suffix]
    if suffix and wanted.endswith(suffix) and wanted in known:
        return known[wanted]
    detail = f"The model has no such sampler with this schedule type; it takes: {_listed(taken)}"
    raise invalid_request([Fault(field="sampler_name", detail=detail, limit=list(taken))])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
