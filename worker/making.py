"""What a picture carries of its making, so that whoever has the file can make it again."""

import json
from dataclasses import dataclass
from typing import Any, Final

from jobs.infotext import infotext
from jobs.model import AdmittedRequest
from pipelines.catalog import ALL_OPTIONS, ModelSpec

#: What of a request makes the picture. Whatever else a job holds, such as its labels, tells of who
#: asked for it, and is no business of those who are given the picture.
MAKES_THE_PICTURE: Final = frozenset(
    {
        "prompt",
        "negative_prompt",
        "model",
        "width",
        "height",
        "steps",
        "guidance_scale",
        "scheduler",
        "temperature",
        "top_p",
        "top_k",
        "output_format",
        "output_quality",
    }
)


@dataclass(frozen=True, kw_only=True)
class Making:
    """How one picture was made, in the two forms that it carries."""

    #: What AUTOMATIC1111 and its readers know as `parameters`.
    parameters: str
    #: JSON, in ASCII: `request` is a body of `POST /v1/jobs` that makes this picture, alone.
    record: str


def making_of(request: AdmittedRequest, index: int, spec: ModelSpec) -> Making:
    """How picture `index` of a request is made: from the request's seed plus `index`.

    It holds neither a time nor a job's id, so the same request gives the same file.
    """
    seed = request.seed + index
    record: dict[str, Any] = {
        "request": {**_asked(request, spec), "seed": seed},
        # A folder's name is the operator's business; a published model's is everybody's.
        "source": None if spec.is_folder else spec.source,
        "revision": spec.revision,
    }
    told = {name: value for name, value in record.items() if value is not None}
    return Making(parameters=infotext(request, seed), record=json.dumps(told))


def _asked(request: AdmittedRequest, spec: ModelSpec) -> dict[str, Any]:
    """What makes the picture, but for what its model would refuse or the request leaves empty."""
    refused = set(ALL_OPTIONS) - set(spec.options)
    names = set(MAKES_THE_PICTURE) - refused
    fields = request.model_dump(mode="json", include=names, exclude_none=True)
    return {name: value for name, value in fields.items() if value != ""}
