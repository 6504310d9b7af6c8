"""What a model must do to be run: prompt in, one step at a time, pixels out."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

from pipelines.catalog import ModelSpec
from pipelines.tuning import Tuning


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """One image of a job, complete: nothing about it is decided later."""

    prompt: str
    negative_prompt: str = ""
    #: Pixels.
    width: int
    #: Pixels.
    height: int
    #: Denoising steps as the user counts them, or the tokens of a picture.
    steps: int
    #: Above 1 the picture is pulled towards its prompt, and every step costs two rows of the batch.
    guidance_scale: float
    seed: int
    #: A name from `schedulers.py`; None is the scheduler the model was saved with.
    scheduler: str | None = None
    #: How tokens are drawn, see `sampling.py`; None is the model's default.
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    #: The moment on `time.monotonic()`'s clock after which nobody waits for the picture.
    deadline: float | None = None

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True)
class Progress:
    """How far an image is, in forward passes (a second-order scheduler needs two a step)."""

    step: int
    #: 0 until the prompt is encoded.
    steps: int
    #: A small WebP of what can be seen so far, every few steps.
    preview: bytes | None = None


@dataclass(frozen=True)
class Picture:
    """A finished image."""

    #: RGB, in the size asked for.
    image: Image.Image
    #: What the user should know, such as a prompt that was cut.
    warnings: tuple[str, ...] = ()
    #: What the model's safety checker found.
    flagged: tuple[str, ...] = ()
    #: Whether the image stands, all black, for one that nobody is to see.
    is_withheld: bool = False


class Checker(Protocol):
    """What looks at pictures before they leave; see `safety.py`."""

    def examine(self, pictures: Sequence[Picture]) -> list[Picture]: ...


@dataclass(eq=False, kw_only=True)
class State:
    """An image under way. Whatever changes from step to step is in here, and nowhere else."""

    request: ImageRequest
    pipeline: "Pipeline"
    #: Forward passes in all.
    steps: int
    #: Forward passes done.
    step: int = 0
    #: Rows of the batch that one forward pass takes.
    rows: int = 1
    warnings: tuple[str, ...] = ()
    #: Why this image cannot go on, while others can.
    failure: Exception | None = None

    @property
    def is_finished(self) -> bool:
        return self.step >= self.steps


class Phase(StrEnum):
    """Where an image meets the limits of the device's memory."""

    ENCODE = "encode"
    STEP = "step"
    DECODE = "decode"


class Pipeline(ABC):
    """One loaded model.

    `step` runs on the engine's thread; `encode`, `decode` and `preview` each on a thread of their
    own, at the same time as `step`, though never twice at once.
    """

    spec: ModelSpec
    #: What the weights take on the device, and what is set aside beside them.
    size_bytes: int
    #: What looks at each picture before it leaves.
    checker: Checker | None = None

    @abstractmethod
    def __init__(self, spec: ModelSpec, components: Any, device: torch.device) -> None:
        """Take apart what a library has loaded, see `formats.py`, already on `device`."""

    @classmethod
    def set_aside_bytes(cls, spec: ModelSpec, folder: Path, dtype: torch.dtype) -> int:
        """What a model in a folder will set aside beside its weights, told without loading it."""
        return 0

    def tune(self, tuning: Tuning) -> None:  # noqa: B027 - not every model can be tuned
        """Make the model faster, before its first step."""

    def has_room(self, request: ImageRequest) -> bool:
        """Whether one more image can be under way now. Asked on `encode`'s thread, just before it.

        An image that finds no room waits, and others of its model behind it, until one has left or
        has taken its last step.
        """
        return True

    @abstractmethod
    def encode(self, request: ImageRequest) -> State:
        """Turn a request into a state before its first step.

        Raises:
            RequestError: the model cannot do what the request asks.
        """

    @abstractmethod
    def batch_key(self, state: State) -> Hashable:
        """States with equal keys can share a forward pass."""

    @abstractmethod
    def step(self, states: Sequence[State]) -> None:
        """Advance each state by one step, in one forward pass.

        If it raises, no state has changed. What goes wrong with one state alone becomes its
        `failure`, and the others advance.
        """

    @abstractmethod
    def decode(self, states: Sequence[State]) -> list[Picture]:
        """Turn finished states with equal keys into pictures. Leaves the states as they are."""

    def preview(self, state: State) -> Image.Image | None:
        """A small RGB picture of a state under way, or None where there is nothing to see."""
        return None

    def release(self, state: State) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of a state that left, finished or not."""

    def save_memory(self, phase: Phase, width: int, height: int) -> bool:
        """Run this phase of pictures of this size in less memory from now on.

        Returns: False when nothing is left to try.
        """
        return False
