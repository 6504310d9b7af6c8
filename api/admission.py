"""A request is admitted when every limit of its model holds; what it leaves open is filled in."""

import random
from collections.abc import Iterator, Mapping

from api.blocklist import Blocklist
from api.problems import Fault, Problem, invalid_request
from jobs.model import MAX_SEED, AdmittedRequest, JobRequest
from pipelines.catalog import ALL_OPTIONS, Catalog, ModelSpec

#: Random seeds stay within 32 bits, which every other tool can take as well.
RANDOM_SEED_BITS = 32
#: Options with a default and a maximum of the model, and how the maximum is told.
NUMBERS = {
    "steps": "at most {} steps",
    "guidance_scale": "a guidance scale of at most {}",
    "temperature": "a temperature of at most {}",
    "top_p": "a top-p of at most {}",
    "top_k": "a top-k of at most {}",
}


def admit(
    request: JobRequest, catalog: Catalog, blocklists: Mapping[str, Blocklist]
) -> AdmittedRequest:
    """Check a request against its model's limits.

    Raises:
        Problem: `invalid-request`, with every field at fault and the limit it breaks;
            `prompt-blocked`, with what the prompt asks for and must not.
    """
    name = request.model or next(iter(catalog))
    if name not in catalog:
        known = list(catalog)
        detail = f"There is no model of this name; there are: {', '.join(known)}"
        raise invalid_request([Fault(field="model", detail=detail, limit=known)])
    spec = catalog[name]
    admitted = _filled_in(request, spec)
    faults = [*_options_not_taken(request, spec), *_faults(admitted, spec)]
    if faults:
        raise invalid_request(faults)
    if name in blocklists and (found := blocklists[name].found_in(request.prompt)):
        detail = f"{spec.name} makes no pictures of this: {found}"
        fault = Fault(field="prompt", detail=detail)
        raise Problem("prompt-blocked", f"prompt: {detail}", errors=[fault])
    return admitted


def _filled_in(request: JobRequest, spec: ModelSpec) -> AdmittedRequest:
    """What the model does not take stays out, to be refused."""
    asked = request.model_dump(exclude_none=True, exclude=set(ALL_OPTIONS) - set(spec.options))
    width, height = spec.size.default
    limits = {name: getattr(spec, name) for name in NUMBERS}
    defaults = {
        "model": spec.name,
        "negative_prompt": "",
        "width": width,
        "height": height,
        **{name: limit.default for name, limit in limits.items() if limit},
        "scheduler": None,
        "seed": random.getrandbits(RANDOM_SEED_BITS),
    }
    return AdmittedRequest.model_validate(defaults | asked)


def _options_not_taken(request: JobRequest, spec: ModelSpec) -> Iterator[Fault]:
    taken = list(spec.options)
    for field in ALL_OPTIONS:
        # An empty text asks for nothing.
        if field not in taken and getattr(request, field) not in (None, ""):
            detail = (
                f"{spec.name} is of family {spec.family}, which takes no {field}; "
                f"it takes {', '.join(taken)}"
            )
            yield Fault(field=field, detail=detail, limit=taken)


def _faults(request: AdmittedRequest, spec: ModelSpec) -> Iterator[Fault]:
    yield from _size_faults(request, spec)
    for field, words in NUMBERS.items():
        limits, value = getattr(spec, field), getattr(request, field)
        if limits and value is not None and value > limits.max:
            detail = f"{spec.name} takes {words.format(limits.max)}"
            yield Fault(field=field, detail=detail, limit=limits.max)
    if request.scheduler is not None and request.scheduler not in spec.schedulers:
        detail = f"{spec.name} takes one of: {', '.join(spec.schedulers)}"
        yield Fault(field="scheduler", detail=detail, limit=list(spec.schedulers))
    if request.seed + request.images - 1 > MAX_SEED:
        highest = MAX_SEED - request.images + 1
        detail = f"Picture i is made from seed + i, so this many images take a seed up to {highest}"
        yield Fault(field="seed", detail=detail, limit=highest)


def _size_faults(request: AdmittedRequest, spec: ModelSpec) -> Iterator[Fault]:
    size, fits = spec.size, True
    for field in ("width", "height"):
        side = getattr(request, field)
        if not size.min <= side <= size.max:
            detail = f"{spec.name} takes a {field} from {size.min} to {size.max} pixels"
            yield Fault(field=field, detail=detail, limit=[size.min, size.max])
            fits = False
        elif side % size.multiple_of:
            detail = f"{spec.name} takes a {field} that is a multiple of {size.multiple_of} pixels"
            yield Fault(field=field, detail=detail, limit=size.multiple_of)
            fits = False
    if fits and request.width * request.height > size.max_pixels:
        detail = f"{spec.name} takes at most {size.max_pixels} pixels (width times height)"
        yield Fault(field="width", detail=detail, limit=size.max_pixels)
