"""The options that a request can override: which are honoured, and which would be in vain."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from api.problems import Fault
from jobs.model import OutputFormat
from pipelines.catalog import Catalog

#: What is honoured, and kept for a caller who sets it.
CHECKPOINT: Final = "sd_model_checkpoint"
FORMAT: Final = "samples_format"
HONOURED: Final = (CHECKPOINT, FORMAT)

FORMATS: Final = {
    "png": OutputFormat.PNG,
    "jpg": OutputFormat.JPEG,
    "jpeg": OutputFormat.JPEG,
    "webp": OutputFormat.WEBP,
}

#: What would change the picture and is not there, and the values that ask for nothing.
NOT_THERE: Final[Mapping[str, tuple[Any, ...]]] = {
    "CLIP_stop_at_last_layers": (1,),
    "eta_noise_seed_delta": (),
    "sd_hypernetwork": (),
    "sd_vae": ("Automatic",),
}
#: These ask for nothing wherever they stand.
NOTHING: Final[tuple[Any, ...]] = (None, "", "None", 0, -1, [], {})


def chosen(options: Mapping[str, Any], name: str, default: str) -> str:
    """An option that has been checked, or the default where it asks for nothing."""
    return default if options.get(name) in NOTHING else options[name]


def faults_of(options: Mapping[str, Any], catalog: Catalog, within: str = "") -> Iterator[Fault]:
    """
    Args:
        within: what stands before the options' names in the request.
    """
    checkpoint, picture_format = options.get(CHECKPOINT), options.get(FORMAT)
    if checkpoint not in NOTHING and checkpoint not in list(catalog):
        detail = f"There is no model of this name; there are: {', '.join(catalog)}"
        yield Fault(field=within + CHECKPOINT, detail=detail, limit=list(catalog))
    if picture_format not in NOTHING and picture_format not in list(FORMATS):
        detail = f"Pictures can be one of: {', '.join(FORMATS)}"
        yield Fault(field=within + FORMAT, detail=detail, limit=list(FORMATS))
    for name, harmless in NOT_THERE.items():
        if options.get(name) not in (*NOTHING, *harmless):
            yield Fault(field=within + name, detail="Darkroom cannot do this")
