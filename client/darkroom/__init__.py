"""The client of Darkroom, the self-hosted text-to-image service.

Submit, wait and save:

>>> with Darkroom("http://127.0.0.1:8420") as darkroom:
...     job = darkroom.generate("a red circle on a blue background")
...     darkroom.download(job.images[0], "circle.png")
"""

from darkroom.aio import AsyncDarkroom
from darkroom.client import Darkroom
from darkroom.errors import (
    ConfigurationError,
    DarkroomError,
    JobFailedError,
    PictureError,
    RefusedError,
    UnreachableError,
    WaitingError,
)
from darkroom.events import Event, Preview, Running
from darkroom.model import (
    Attempt,
    Batch,
    Estimate,
    Failure,
    Fault,
    Image,
    Job,
    Model,
    Progress,
    QueuePlace,
)

__all__ = [
    "AsyncDarkroom",
    "Attempt",
    "Batch",
    "ConfigurationError",
    "Darkroom",
    "DarkroomError",
    "Estimate",
    "Event",
    "Failure",
    "Fault",
    "Image",
    "Job",
    "JobFailedError",
    "Model",
    "PictureError",
    "Preview",
    "Progress",
    "QueuePlace",
    "RefusedError",
    "Running",
    "UnreachableError",
    "WaitingError",
]
