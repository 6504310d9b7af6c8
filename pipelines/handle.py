"""What a submitter holds of an image under way."""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass

from pipelines.catalog import ModelSpec
from pipelines.errors import DeadlineError, ImageCanceledError, PipelineError
from pipelines.memory import Work
from pipelines.pipeline import ImageRequest, Phase, Picture, Pipeline, Progress, State


@dataclass(frozen=True)
class Stage:
    """A phase that an image has been through, from when to when in Unix time."""

    phase: Phase
    begun_s: float
    ended_s: float


class Handle:
    """One image in the engine: its progress, its result, its cancelling. For any thread."""

    def __init__(
        self,
        spec: ModelSpec,
        request: ImageRequest,
        on_progress: Callable[[Progress], None] | None,
        on_cancel: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.request = request
        #: On `time.monotonic()`'s clock.
        self.came_s = time.monotonic()
        #: The picture; its errors are `PipelineError`s. Cancelling the future cancels the image.
        self.future: Future[Picture] = Future()
        #: The latest.
        self.progress = Progress(0, 0)
        #: What it has been through; complete once the future has its picture.
        self.stages: list[Stage] = []
        #: May be changed at any time, from any thread; without it no preview is drawn.
        self.on_progress = on_progress
        #: The engine's; None until the prompt is encoded.
        self.state: State | None = None
        #: The engine's: what must stay loaded for this image; None until it is, and once it left.
        self.pipeline: Pipeline | None = None
        self._on_cancel = on_cancel
        self._is_canceled = False
        self.future.add_done_callback(self._note_cancelled_future)

    def cancel(self) -> None:
        """Take the image out of the engine, within one step; the future then raises."""
        self._is_canceled = True
        self._on_cancel()

    @property
    def key(self) -> Hashable:
        """Images with equal keys can share a forward pass."""
        return (
            (self.state.pipeline, self.state.pipeline.batch_key(self.state)) if self.state else None
        )

    def work(self, phase: Phase) -> Work:
        return Work(self.spec.name, phase, self.request.width, self.request.height)

    def passed(self, phase: Phase, begun_s: float) -> None:
        """The image has just left a phase."""
        self.stages.append(Stage(phase, begun_s, time.time()))

    @property
    def steps(self) -> int:
        return self.state.steps if self.state else self.request.steps

    @property
    def rows(self) -> int:
        return self.state.rows if self.state else 0

    def why_unwanted(self, now_s: float) -> PipelineError | None:
        """Why nobody waits for the image any more, if so; `now_s` is `time.monotonic()`'s."""
        if self._is_canceled:
            return ImageCanceledError("the image was cancelled")
        if self.request.deadline is not None and now_s >= self.request.deadline:
            step, steps = self.progress.step, self.progress.steps or self.request.steps
            return DeadlineError(
                f"the image was not finished by its deadline; {step} of {steps} steps were done"
            )
        return None

    def settle(self, outcome: Picture | PipelineError) -> None:
        """Give the future its result, unless its holder has cancelled it."""
        if self.future.set_running_or_notify_cancel():
            if isinstance(outcome, PipelineError):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)

    def _note_cancelled_future(self, future: "Future[Picture]") -> None:
        if future.cancelled():
            self.cancel()
