"""A request is admitted when every limit of its model holds; what it leaves open is filled in."""

import secrets
from collections.abc import Iterator

from api.problems import Fault, invalid_request
from jobs.model import MAX_SEED, AdmittedRequest, JobRequest
from pipelines.catalog import Catalog, ModelSpec

#: Random seeds stay within 32 bits, which every other tool can take as well.
RANDOM_SEEDS = 2**32


def admit(request: JobRequest, catalog: Catalog) -> AdmittedRequest:
    """Check a request against its model's limits.

    Raises:
        Problem: `invalid-request`, with every field at fault and the limit it breaks.
    """
    name = request.model or next(iter(catalog))
    if name not in catalog:
        known = list(catalog)
        detail = f"There is no model of this name; there are: {', '.join(known)}"
        raise invalid_request([Fault(field="model", detail=detail, limit=known)])
    spec = catalog[name]
    admitted = _filled_in(request, spec)
    faults = list(_faults(admitted, spec))
    if faults:
        raise invalid_request(faults)
    return admitted


def _filled_in(request: JobRequest, spec: ModelSpec) -> AdmittedRequest:
    asked = request.model_dump(exclude_none=True)
    width, height = spec.size.default
    defaults = {
        "model": spec.name,
        "width": width,
        "height": height,
        "steps": spec.steps.default,
        "guidance_scale": spec.guidance_scale.default,
        "scheduler": None,
        "seed": secrets.randbelow(RANDOM_SEEDS),
    }
    return AdmittedRequest.model_validate(defaults | asked)


def _faults(request: AdmittedRequest, spec: ModelSpec) -> Iterator[Fault]:
    size = spec.size
    for field in ("width", "height"):
        side = getattr(request, field)
        if not size.min <= side <= size.max:
            detail = f"{spec.name} takes a {field} from {size.min} to {size.max} pixels"
            yield Fault(field=field, detail=detail, limit=[size.min, size.max])
        elif side % size.multiple_of:
            detail = f"{spec.name} takes a {field} that is a multiple of {size.multiple_of} pixels"
            yield Fault(field=field, detail=detail, limit=size.multiple_of)
    if request.width * request.height > size.max_pixels:
        detail = f"{spec.name} takes at most {size.max_pixels} pixels (width times height)"
        yield Fault(field="width", detail=detail, limit=size.max_pixels)
    if request.steps > spec.steps.max:
        detail = f"{spec.name} takes at most {spec.steps.max} steps"
        yield Fault(field="steps", detail=detail, limit=spec.steps.max)
    if request.guidance_scale > spec.guidance_scale.max:
        detail = f"{spec.name} takes a guidance scale of at most {spec.guidance_scale.max}"
        yield Fault(field="guidance_scale", detail=detail, limit=spec.guidance_scale.max)
    if request.scheduler is not None and request.scheduler not in spec.schedulers:
        detail = f"{spec.name} takes one of: {', '.join(spec.schedulers)}"
        yield Fault(field="scheduler", detail=detail, limit=list(spec.schedulers))
    if request.seed + request.images - 1 > MAX_SEED:
        highest = MAX_SEED - request.images + 1
        detail = f"Picture i is made from seed + i, so this many images take a seed up to {highest}"
        yield Fault(field="seed", detail=detail, limit=highest)
