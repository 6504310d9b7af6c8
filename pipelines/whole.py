"""Any other diffusers text-to-image pipeline, run whole, yet stopped at each of its steps."""

import copy
import inspect
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from pipelines.catalog import ModelSpec
from pipelines.device import use_own_stream, wait_for
from pipelines.errors import ModelLoadError, RequestError
from pipelines.pipeline import ImageRequest, Picture, Pipeline, State
from pipelines.weights import loaded_bytes


class _AbandonedError(Exception):
    """Unwinds a call that nobody waits for any more."""


class Run:
    """One call of a pipeline on a thread of its own, which takes a step only when it is told to.

    So a call that cannot be taken apart still shares the device step by step with other models, and
    can be left in the middle.
    """

    def __init__(
        self, paint: Callable[[Callable[..., Any]], list[Image.Image]], device: torch.device
    ) -> None:
        """
        Args:
            paint: makes the call, given its step callback; returns the pictures.
        """
        self.images: list[Image.Image] = []
        self.is_over = False
        #: Forward passes in all; 0 until the first is done.
        self.steps = 0
        self.members: set[WholeState] = set()
        self._paint = paint
        self._device = device
        self._error: Exception | None = None
        self._is_abandoned = False
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._call, name="darkroom-whole", daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Go on to the end of the next step, or of the call. Raises what the call raises."""
        if not self.is_over:
            self._go.release()
            self._paused.acquire()
        if self._error is not None:
            raise self._error

    def finish(self) -> list[Image.Image]:
        while not self.is_over:
            self.resume()
        return self.images

    def leave(self, member: "WholeState") -> None:
        """One image leaves; when it is the last, the call ends where it stands."""
        self.members.discard(member)
        if not self.members:
            self._is_abandoned = True
            self._go.release()

    def _call(self) -> None:
        use_own_stream(self._device)
        self._go.acquire()
        try:
            if not self._is_abandoned:
                self.images = self._paint(self._pause)
        except _AbandonedError:
            pass
        except Exception as error:
            self._error = error
        self.is_over = True
        self._paused.release()

    def _pause(
        self, pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        self.steps = int(getattr(pipe, "num_timesteps", 0) or 0)
        wait_for(self._device)
        self._paused.release()
        self._go.acquire()
        if self._is_abandoned:
            raise _AbandonedError
        return tensors


@dataclass(eq=False, kw_only=True)
class WholeState(State):
    """An image whose pipeline keeps its latents to itself."""

    run: Run | None = None
    #: Which of the run's pictures it is.
    index: int = 0


class Whole(Pipeline):
    """Drives a pipeline through its `__call__`; images with equal parameters that start together
    share it."""

    def __init__(self, spec: ModelSpec, components: Any, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        self.components = components
        self.size_bytes = loaded_bytes(components.components.values())
        self._takes = set(inspect.signature(type(components).__call__).parameters)
        if not {"prompt", "generator"} <= self._takes:
            raise ModelLoadError(
                f"model {spec.name!r}: {type(components).__name__} does not paint from a prompt"
            )

    def encode(self, request: ImageRequest) -> WholeState:
        if request.scheduler is not None:
            raise RequestError("scheduler: this model can use its own only")
        if request.steps < 1:
            raise RequestError(f"steps: {request.steps} is less than 1")
        steps = request.steps if "callback_on_step_end" in self._takes else 1
        warnings: tuple[str, ...] = ()
        if request.negative_prompt and "negative_prompt" not in self._takes:
            warnings = ("negative prompt: this model does not read one",)
        rows = 2 if request.guidance_scale > 1 else 1
        return WholeState(request=request, pipeline=self, steps=steps, rows=rows, warnings=warnings)

    def batch_key(self, state: State) -> Hashable:
        if isinstance(state, WholeState) and state.run is not None:
            return state.run
        request = state.request
        return (
            request.width,
            request.height,
            request.steps,
            request.guidance_scale,
            bool(request.negative_prompt),
        )

    def step(self, states: Sequence[State]) -> None:
        mine = [state for state in states if isinstance(state, WholeState)]
        run = mine[0].run or self._start(mine)
        try:
            run.resume()
        except Exception:
            for state in run.members:
                state.run, state.step = None, 0
            raise
        # All of them, for a call that has begun cannot go on without some.
        for state in run.members:
            state.steps = run.steps or state.steps
            state.step = state.steps if run.is_over else state.step + 1

    def decode(self, states: Sequence[State]) -> list[Picture]:
        return [
            Picture(state.run.finish()[state.index].convert("RGB"), state.warnings)
            for state in states
            if isinstance(state, WholeState) and state.run is not None
        ]

    def release(self, state: State) -> None:
        # The run stays with the state, for it may be decoding at this moment.
        if isinstance(state, WholeState) and state.run is not None:
            state.run.leave(state)

    def _start(self, states: list[WholeState]) -> Run:
        requests = [state.request for state in states]
        first = requests[0]
        options: dict[str, Any] = {
            "width": first.width,
            "height": first.height,
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance_scale,
        }
        if first.negative_prompt:
            options["negative_prompt"] = [request.negative_prompt for request in requests]
        options = {name: value for name, value in options.items() if name in self._takes}
        # A call keeps its scheduler and settings on its pipeline, so each call gets its own shell.
        shell = copy.copy(self.components)
        shell.scheduler = copy.deepcopy(self.components.scheduler)

        def paint(callback: Callable[..., Any]) -> list[Image.Image]:
            if "callback_on_step_end" in self._takes:
                options["callback_on_step_end"] = callback
            images: list[Image.Image] = shell(
                prompt=[request.prompt for request in requests],
                generator=[torch.Generator("cpu").manual_seed(each.seed) for each in requests],
                **options,
            ).images
            return images

        run = Run(paint, self.device)
        for index, state in enumerate(states):
            state.run, state.index = run, index
            run.members.add(state)
        return run
