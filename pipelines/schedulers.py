"""Schedulers by the names users know. Torch-free, so the API validates with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, kw_only=True)
class SchedulerKind:
    """A diffusers scheduler class and what sets it apart from the model's own configuration."""

    class_name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    #: What the class calls by another name than the model's own scheduler does.
    renames: Mapping[str, str] = field(default_factory=dict)


_KARRAS: Final = {"use_karras_sigmas": True}
_SDE: Final = {"algorithm_type": "sde-dpmsolver++"}

#: For models that learned to predict noise, a picture or v: the UNets.
DENOISING_SCHEDULERS: Final[Mapping[str, SchedulerKind]] = MappingProxyType(
    {
        "Euler": SchedulerKind(class_name="EulerDiscreteScheduler"),
        "Euler Karras": SchedulerKind(class_name="EulerDiscreteScheduler", overrides=_KARRAS),
        "Euler a": SchedulerKind(class_name="EulerAncestralDiscreteScheduler"),
        "Heun": SchedulerKind(class_name="HeunDiscreteScheduler"),
        "DPM++ 2M": SchedulerKind(class_name="DPMSolverMultistepScheduler"),
        "DPM++ 2M Karras": SchedulerKind(
            class_name="DPMSolverMultistepScheduler", overrides=_KARRAS
        ),
        "DPM++ 2M SDE": SchedulerKind(class_name="DPMSolverMultistepScheduler", overrides=_SDE),
        "DPM++ 2M SDE Karras": SchedulerKind(
            class_name="DPMSolverMultistepScheduler", overrides={**_SDE, **_KARRAS}
        ),
        "DDIM": SchedulerKind(class_name="DDIMScheduler"),
        "DDPM": SchedulerKind(class_name="DDPMScheduler"),
        "UniPC": SchedulerKind(class_name="UniPCMultistepScheduler"),
        "PNDM": SchedulerKind(class_name="PNDMScheduler"),
        "LCM": SchedulerKind(class_name="LCMScheduler"),
        "TCD": SchedulerKind(class_name="TCDScheduler"),
    }
)

_FLOW: Final = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
_FLOW_RENAMES: Final = {"shift": "flow_shift"}

#: For models that learned a flow from noise to pictures: SD3, Flux and their like.
FLOW_SCHEDULERS: Final[Mapping[str, SchedulerKind]] = MappingProxyType(
    {
        "Euler": SchedulerKind(class_name="FlowMatchEulerDiscreteScheduler"),
        "Euler Karras": SchedulerKind(
            class_name="FlowMatchEulerDiscreteScheduler", overrides=_KARRAS
        ),
        "Heun": SchedulerKind(class_name="FlowMatchHeunDiscreteScheduler"),
        "DPM++ 2M": SchedulerKind(
            class_name="DPMSolverMultistepScheduler", overrides=_FLOW, renames=_FLOW_RENAMES
        ),
        "DPM++ 2M SDE": SchedulerKind(
            class_name="DPMSolverMultistepScheduler",
            overrides={**_FLOW, **_SDE},
            renames=_FLOW_RENAMES,
        ),
        "UniPC": SchedulerKind(
            class_name="UniPCMultistepScheduler", overrides=_FLOW, renames=_FLOW_RENAMES
        ),
        "LCM": SchedulerKind(class_name="FlowMatchLCMScheduler"),
    }
)
