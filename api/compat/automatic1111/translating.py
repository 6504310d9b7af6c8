"""A `txt2img` request as a job's request."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from api.compat.automatic1111.model import TextToImage
from api.compat.automatic1111.samplers import scheduler_of
from api.compat.automatic1111.settings import (
    CHECKPOINT,
    FORMAT,
    FORMATS,
    NOTHING,
    chosen,
    faults_of,
)
from api.compat.dialect import job_request
from api.problems import Fault, invalid_request
from jobs.model import JobRequest
from pipelines.catalog import Catalog, ModelSpec

#: What would change the picture and is not there.
NOT_THERE: Final[Mapping[str, str]] = {
    "enable_hr": "no second pass in high resolution",
    "init_images": "no pictures made from pictures",
    "mask": "no pictures made from pictures",
    "refiner_checkpoint": "no refiner",
    "restore_faces": "no restoring of faces",
    "s_churn": "no noise between the steps but the sampler's own",
    "script_name": "no scripts",
    "seed_resize_from_h": "no seeds of another size",
    "seed_resize_from_w": "no seeds of another size",
    "subseed_strength": "no second seed",
    "tiling": "no tiling",
}
#: Extra networks in a prompt, such as `<lora:name:1>`.
EXTRA_NETWORK: Final = re.compile(r"<(lora|lyco|hypernet):[^>]*>", re.IGNORECASE)
#: What clients send always, whether a model takes it or not.
SENT_ANYWAY: Final = ("negative_prompt", "steps", "guidance_scale", "scheduler")


def to_job_request(asked: TextToImage, options: Mapping[str, Any], catalog: Catalog) -> JobRequest:
    """
    Args:
        options: the caller's, with those that the request overrides.

    Raises:
        Problem: `invalid-request`: it asks for what is not there, and would change the picture.
        RequestValidationError: a field breaks a limit that holds for every model.
    """
    faults = [*_not_there(asked), *faults_of(options, catalog, "override_settings.")]
    if faults:
        raise invalid_request(faults)
    spec = catalog[chosen(options, CHECKPOINT, next(iter(catalog)))]
    fields = {
        "prompt": asked.prompt,
        "negative_prompt": asked.negative_prompt,
        "model": spec.name,
        "width": asked.width,
        "height": asked.height,
        "steps": asked.steps,
        "guidance_scale": _guidance_scale(asked, spec),
        "scheduler": _scheduler(asked, spec),
        "images": (asked.batch_size or 1) * (asked.n_iter or 1),
        "seed": None if asked.seed == -1 else asked.seed,
        "output_format": FORMATS[chosen(options, FORMAT, "png")],
    }
    not_taken = set(SENT_ANYWAY) - set(spec.options)
    return job_request(
        {
            name: value
            for name, value in fields.items()
            if value is not None and name not in not_taken
        }
    )


def _not_there(asked: TextToImage) -> Iterator[Fault]:
    further = asked.model_extra or {}
    for name, what in NOT_THERE.items():
        if further.get(name) not in NOTHING:
            yield Fault(field=name, detail=f"Darkroom has {what}")
    for script, given in (asked.alwayson_scripts or {}).items():
        if _is_on(given):
            yield Fault(field=f"alwayson_scripts.{script}", detail="Darkroom has no scripts")
    for name in ("prompt", "negative_prompt"):
        if found := EXTRA_NETWORK.search(getattr(asked, name) or ""):
            yield Fault(field=name, detail=f"Darkroom has no extra networks: {found[0][:64]}")


def _is_on(script: Any) -> bool:
    """Whether a script would do something: clients send many that are turned off."""
    match script:
        case {"args": arguments}:
            return _is_on(arguments)
        case {"enabled": is_on} | {"enable": is_on}:
            return bool(is_on)
        case list():
            return any(_is_on(argument) for argument in script)
        case _:
            return script not in NOTHING


def _guidance_scale(asked: TextToImage, spec: ModelSpec) -> float | None:
    """1 and below turn guidance off, also for a model that takes no more than 0."""
    if asked.cfg_scale is None or asked.cfg_scale > 1:
        return asked.cfg_scale
    return min(asked.cfg_scale, spec.guidance_scale.max)


def _scheduler(asked: TextToImage, spec: ModelSpec) -> str | None:
    if "scheduler" not in spec.options:
        return None
    return scheduler_of(asked.sampler_name or asked.sampler_index, asked.scheduler, spec.schedulers)
