"""The client of Darkroom, the self-hosted text-to-image service.

Submit, wait and save:

>>> with Darkroom("http://127.0.0.1:8420") as darkroom:
...     job = darkroom.generate("a red circle on a blue background")
...     darkroom.download(job.images[0], "circle.png")
"""

from darkroom.client import Darkroom
from darkroom.errors import DarkroomError, JobFailedError, RefusedError, UnreachableError
from darkroom.model import Failure, Fault, Image, Job, Model, Progress, QueuePlace

__all__ = [
    "Darkroom",
    "DarkroomError",
    "Failure",
    "Fault",
    "Image",
    "Job",
    "JobFailedError",
    "Model",
    "Progress",
    "QueuePlace",
    "RefusedError",
    "UnreachableError",
]
