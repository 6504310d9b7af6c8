"""A scheduler's walk from noise to picture, one per image."""

import contextlib
import copy
import inspect
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from pipelines.errors import RequestError
from pipelines.schedulers import SchedulerKind

#: Configured schedules kept for reuse; each is a few kilobytes.
_KEPT_SCHEDULES = 256


class Schedule:
    """One image's scheduler, with its own memory of earlier steps.

    All it holds are scalars, and on the CPU: reading a scalar back would stall a GPU.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        #: Where on the noise schedule each step is: (steps,).
        self.timesteps: torch.Tensor = scheduler.timesteps
        self._numbers: list[float] = [float(timestep) for timestep in scheduler.timesteps]
        #: What unit noise is multiplied by before the first step.
        self.initial_sigma: float = float(getattr(scheduler, "init_noise_sigma", 1.0))
        parameters = inspect.signature(scheduler.step).parameters
        self._takes_generator = "generator" in parameters
        # Like diffusers' pipelines: without noise, where a scheduler lets one choose.
        self._options = {"eta": 0.0} if "eta" in parameters else {}
        self._scales_input = hasattr(scheduler, "scale_model_input")
        self._is_flow = hasattr(scheduler, "scale_noise")
        #: What the picture would be, judged by the step before; None before the first.
        self.outline: torch.Tensor | None = None

    def fresh(self) -> "Schedule":
        """The same schedule before its first step. Tables are shared, memory is not."""
        twin = copy.copy(self)
        tables = [
            value for value in vars(self.scheduler).values() if isinstance(value, torch.Tensor)
        ]
        shared = {id(value): value for value in [*tables, self.scheduler.config]}
        twin.scheduler = copy.deepcopy(self.scheduler, shared)
        return twin

    def timestep(self, step: int) -> float:
        return self._numbers[step]

    def scale_input(self, latents: torch.Tensor, step: int) -> torch.Tensor:
        """Latents as the model expects them at this step."""
        if not self._scales_input:
            return latents
        scaled: torch.Tensor = self.scheduler.scale_model_input(latents, self.timesteps[step])
        return scaled

    def advance(
        self,
        prediction: torch.Tensor,
        step: int,
        latents: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """The latents one step closer to the picture."""
        options: dict[str, Any] = {"return_dict": False, **self._options}
        if self._takes_generator:
            options["generator"] = generator
        result = self.scheduler.step(prediction, self.timesteps[step], latents, **options)
        previous: torch.Tensor = result[0]
        self.outline = self._outline(prediction, step, latents, result)
        return previous

    def _outline(
        self, prediction: torch.Tensor, step: int, latents: torch.Tensor, result: Any
    ) -> torch.Tensor:
        """Schedulers tell their guess beside the result, keep it, or leave it to be worked out."""
        if len(result) > 1:
            guess = result[1]
        elif getattr(self.scheduler, "model_outputs", None):
            guess = self.scheduler.model_outputs[-1]
        elif self._is_flow:
            guess = latents - self.scheduler.sigmas[step] * prediction
        else:
            guess = result[0]
        outline: torch.Tensor = guess
        return outline


class ScheduleShelf:
    """The schedules of one model, by scheduler and steps: configured once, copied per image."""

    def __init__(
        self, own: Any, kinds: Mapping[str, SchedulerKind], *, begins_at_zero: bool = False
    ) -> None:
        """
        Args:
            own: the scheduler the model was saved with, a diffusers `SchedulerMixin`.
            kinds: what else the model's family can use.
            begins_at_zero: whether the family's diffusers pipeline says that the first step is step
                0, or lets the scheduler look it up; they differ where steps share a timestep.
        """
        self._own = own
        self._begins_at_zero = begins_at_zero
        self._schedulers: dict[str, Any] = {}
        self._kinds = {name: kind for name, kind in kinds.items() if self._can_follow(kind)}
        self._kept: OrderedDict[tuple[object, ...], Schedule] = OrderedDict()

    @property
    def names(self) -> list[str]:
        return list(self._kinds)

    def take(self, name: str | None, steps: int, **options: Any) -> Schedule:
        """A schedule of this many steps before its first one.

        Args:
            options: what else the scheduler's `set_timesteps` takes, hashable.

        Raises:
            RequestError: the model cannot use this scheduler, or the scheduler this many steps.
        """
        key = (name, steps, *sorted(options.items()))
        if key not in self._kept:
            self._kept[key] = self._configure(name, steps, options)
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT_SCHEDULES:
            self._kept.popitem(last=False)
        return self._kept[key].fresh()

    def accepts(self, name: str | None, option: str) -> bool:
        """Whether a scheduler's `set_timesteps` takes an option, and its configuration wants it."""
        scheduler = self._scheduler(name)
        if option == "sigmas" and scheduler.config.get("use_flow_sigmas", False):
            return False
        return option in inspect.signature(scheduler.set_timesteps).parameters

    def _configure(self, name: str | None, steps: int, options: Mapping[str, Any]) -> Schedule:
        if steps < 1:
            raise RequestError(f"steps: {steps} is less than 1")
        scheduler = copy.deepcopy(self._scheduler(name))
        if "sigmas" in options:
            options = {**options, "sigmas": list(options["sigmas"])}
        else:
            options = {**options, "num_inference_steps": steps}
        try:
            with _numpy_2():
                scheduler.set_timesteps(device="cpu", **options)
        except (AssertionError, TypeError, ValueError) as error:
            raise RequestError(
                f"steps: {name or 'the scheduler'} cannot take {steps}: {error}"
            ) from error
        if self._begins_at_zero and hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        return Schedule(scheduler)

    def _scheduler(self, name: str | None) -> Any:
        if name is None:
            return self._own
        if name not in self._kinds:
            known = ", ".join(self._kinds)
            raise RequestError(f"scheduler: this model cannot use {name!r}; it can use: {known}")
        if name not in self._schedulers:
            kind = self._kinds[name]
            known = self._own.config
            renamed = {new: known[old] for old, new in kind.renames.items() if old in known}
            with _numpy_2():
                scheduler = _class_of(kind).from_config(known, **renamed, **kind.overrides)
            self._schedulers[name] = scheduler
        return self._schedulers[name]

    def _can_follow(self, kind: SchedulerKind) -> bool:
        """Whether a scheduler class knows the noise schedule that the model was trained on."""
        known = inspect.signature(_class_of(kind).__init__).parameters
        needed = self._own.config.get("rescale_betas_zero_snr", False)
        return not needed or "rescale_betas_zero_snr" in known


@contextlib.contextmanager
def _numpy_2() -> Iterator[None]:
    """Schedulers hand tensors to numpy in a way that numpy 2 deprecates; not for our users."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        yield


def _class_of(kind: SchedulerKind) -> Any:
    import diffusers

    return getattr(diffusers, kind.class_name)
