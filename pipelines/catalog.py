"""The catalogue: `models.yaml` read into `ModelSpec`s. Torch-free, so the API validates with it."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from pipelines.errors import CatalogError
from pipelines.schedulers import DENOISING_SCHEDULERS, FLOW_SCHEDULERS, SchedulerKind

ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Family(StrEnum):
    """Which pipeline class runs a model."""

    #: Stable Diffusion 1.x and 2.x: one CLIP text encoder, a UNet, a VAE.
    STABLE_DIFFUSION = "stable-diffusion"
    #: SDXL and its distilled kin: two text encoders and size conditioning.
    SDXL = "sdxl"
    #: Flow-matching transformers: Stable Diffusion 3 and Flux.
    FLOW = "flow"
    #: Janus and Janus-Pro: a language model that draws a picture token by token.
    JANUS = "janus"
    #: Any other text-to-image pipeline of diffusers, run whole: slower, still cancellable.
    WHOLE = "whole"


def is_folder(source: str) -> bool:
    """Whether a source is a folder, not a Hugging Face id."""
    return source.startswith((".", "/", "~"))


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SizeLimits(_Frozen):
    """What widths and heights a model takes, in pixels."""

    default: tuple[int, int] = Field(description="Width and height when a request names none.")
    min: int = Field(64, ge=8, description="The shortest side.")
    max: int = Field(ge=8, description="The longest side.")
    multiple_of: int = Field(8, ge=1, description="Every side is a multiple of this.")
    max_pixels: int = Field(ge=64, description="Width times height, at most.")

    @model_validator(mode="after")
    def _default_obeys_the_limits(self) -> "SizeLimits":
        width, height = self.default
        sides_fit = all(
            self.min <= side <= self.max and side % self.multiple_of == 0
            for side in (width, height)
        )
        if not sides_fit or width * height > self.max_pixels:
            raise ValueError(f"the default size {width}x{height} breaks the model's own limits")
        return self


class _UpTo(_Frozen):
    """A default, and the most that a request may ask for."""

    default: float
    max: float

    @model_validator(mode="after")
    def _default_obeys_the_limits(self) -> Self:
        if self.default > self.max:
            raise ValueError(f"the default of {self.default} is above the maximum {self.max}")
        return self


class StepLimits(_UpTo):
    """How many steps an image takes: denoising steps, or the tokens of a picture."""

    default: int = Field(ge=1)
    max: int = Field(150, ge=1, le=1000)


class GuidanceLimits(_UpTo):
    """How strongly a picture is pulled towards its prompt (classifier-free guidance)."""

    default: float = Field(ge=0)
    max: float = Field(30.0, ge=0, le=100)


class TemperatureLimits(_UpTo):
    """How freely tokens are drawn; at 0 the likeliest is taken."""

    default: float = Field(1.0, ge=0)
    max: float = Field(2.0, ge=0, le=10)


class TopPLimits(_UpTo):
    """Which tokens may be drawn: the likeliest that together reach this probability."""

    default: float = Field(1.0, gt=0)
    max: float = Field(1.0, gt=0, le=1)


class TopKLimits(_UpTo):
    """Of how many of the likeliest tokens one is drawn; 0 is of all."""

    default: int = Field(0, ge=0)
    max: int = Field(65_536, ge=0, le=65_536)


_DENOISING = ("negative_prompt", "steps", "guidance_scale")

#: What a request may choose beside its prompt, size and seed.
OPTIONS: Mapping[Family, tuple[str, ...]] = {
    Family.STABLE_DIFFUSION: (*_DENOISING, "scheduler"),
    Family.SDXL: (*_DENOISING, "scheduler"),
    Family.FLOW: (*_DENOISING, "scheduler"),
    Family.JANUS: ("guidance_scale", "temperature", "top_p", "top_k"),
    Family.WHOLE: _DENOISING,
}
#: Every option that some model takes.
ALL_OPTIONS = tuple(dict.fromkeys(name for names in OPTIONS.values() for name in names))

#: What an entry need not say, so that three lines (name, family, source) make a model.
FAMILY_DEFAULTS: Mapping[Family, Mapping[str, Any]] = {
    Family.STABLE_DIFFUSION: {
        "size": {"default": (512, 512), "max": 1024, "max_pixels": 1024 * 1024},
        "steps": {"default": 30},
        "guidance_scale": {"default": 7.5},
    },
    Family.SDXL: {
        "size": {"default": (1024, 1024), "max": 2048, "max_pixels": 2048 * 1024},
        "steps": {"default": 30},
        "guidance_scale": {"default": 5.0},
    },
    Family.FLOW: {
        "size": {
            "default": (1024, 1024),
            "max": 2048,
            "multiple_of": 16,
            "max_pixels": 2048 * 1024,
        },
        "steps": {"default": 28},
        "guidance_scale": {"default": 3.5},
    },
    Family.JANUS: {
        "size": {"default": (384, 384), "min": 384, "max": 384, "max_pixels": 384 * 384},
        "steps": {"default": 576, "max": 576},
        "guidance_scale": {"default": 5.0},
        "temperature": {},
        "top_p": {},
        "top_k": {},
    },
    Family.WHOLE: {
        "size": {"default": (1024, 1024), "max": 2048, "max_pixels": 2048 * 1024},
        "steps": {"default": 30},
        "guidance_scale": {"default": 5.0},
    },
}


#: What a request's `scheduler` may name.
SCHEDULERS: Mapping[Family, Mapping[str, SchedulerKind]] = {
    Family.STABLE_DIFFUSION: DENOISING_SCHEDULERS,
    Family.SDXL: DENOISING_SCHEDULERS,
    Family.FLOW: FLOW_SCHEDULERS,
    Family.JANUS: {},
    Family.WHOLE: {},
}


class SafetyAction(StrEnum):
    """What becomes of a picture that the safety checker finds something in."""

    #: A black one stands in its stead, and no preview is shown before.
    REFUSE = "refuse"
    #: It is given out, with what was found.
    FLAG = "flag"


class SafetyCheckerSpec(_Frozen):
    """A classifier of pictures, as transformers saves it, and which of its labels matter."""

    source: str = Field(min_length=1, description="A Hugging Face id, or a folder.")
    revision: str | None = Field(None, description="A commit, branch or tag of a Hugging Face id.")
    labels: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        {"nsfw": 0.5}, min_length=1, description="From which score on a label counts as found."
    )
    action: SafetyAction = SafetyAction.REFUSE

    @property
    def is_folder(self) -> bool:
        return is_folder(self.source)


class ModelSpec(_Frozen):
    """One entry of the catalogue: what a model is, where it comes from and what it takes."""

    name: ModelName
    family: Family
    source: str = Field(
        min_length=1,
        description="A Hugging Face id, or a folder (starts with '.', '/' or '~').",
    )
    title: str = ""
    licence: str = Field("", description="SPDX name, or the licence's own name.")
    revision: str | None = Field(None, description="A commit, branch or tag of a Hugging Face id.")
    variant: str | None = Field(None, description="The weights' variant in their file names.")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto",
        description="auto: float32 on the CPU; on a GPU float16, for flow and Janus bfloat16.",
    )
    size: SizeLimits
    steps: StepLimits
    guidance_scale: GuidanceLimits
    temperature: TemperatureLimits | None = None
    top_p: TopPLimits | None = None
    top_k: TopKLimits | None = None
    guidance_rescale: float = Field(
        0.0,
        ge=0,
        le=1,
        description="How far guidance's gain in contrast is taken back; zero-SNR models want 0.7.",
    )
    scheduler: str | None = Field(
        None, description="The scheduler when a request names none; the model's own by default."
    )
    schedulers: tuple[str, ...] = Field(
        description="The schedulers that a request may name; the family's by default."
    )
    slots: int = Field(
        32,
        ge=2,
        le=1024,
        description="Rows that a token model holds keys and values for; a guided image takes two.",
    )
    prompt_tokens: int = Field(
        256, ge=16, le=4096, description="The longest prompt that a token model reads."
    )
    blocklist: str | None = Field(
        None, description="A file of what prompts may not ask for, beside the catalogue."
    )
    safety_checker: SafetyCheckerSpec | None = Field(
        None, description="What looks at each picture before anybody gets it."
    )

    @model_validator(mode="after")
    def _limits_are_of_the_family(self) -> "ModelSpec":
        for name in ("temperature", "top_p", "top_k"):
            if getattr(self, name) is not None and name not in self.options:
                raise ValueError(f"family {self.family} takes no {name}")
        return self

    @model_validator(mode="after")
    def _schedulers_are_of_the_family(self) -> "ModelSpec":
        known = SCHEDULERS[self.family]
        for name in (*self.schedulers, *([self.scheduler] if self.scheduler else [])):
            if name not in known:
                listed = ", ".join(known) or "none by name"
                raise ValueError(f"family {self.family} has no scheduler {name!r}: {listed}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _fill_in_family_defaults(cls, entry: Any) -> Any:
        if not isinstance(entry, dict) or not isinstance(entry.get("family"), str):
            return entry
        family: Any = entry["family"]
        named = {"schedulers": tuple(SCHEDULERS.get(family, ()))}
        return {**named, **FAMILY_DEFAULTS.get(family, {}), **entry}

    @property
    def options(self) -> tuple[str, ...]:
        """What a request may choose beside its prompt, size and seed."""
        return OPTIONS[self.family]

    @property
    def is_folder(self) -> bool:
        return is_folder(self.source)

    @property
    def withholds(self) -> bool:
        """Whether pictures may turn out to be none that anybody should see."""
        checker = self.safety_checker
        return checker is not None and checker.action is SafetyAction.REFUSE


class Catalog(Mapping[str, ModelSpec]):
    """Every model the service knows, by name, in the order of the file."""

    def __init__(self, specs: Mapping[str, ModelSpec]) -> None:
        self._specs = dict(specs)

    @classmethod
    def load(cls, path: Path) -> "Catalog":
        """Read a catalogue file.

        Folders named relative to the file are resolved against the file's own folder.

        Raises:
            CatalogError: the file is missing or not YAML, or an entry is wrong; it is named.
        """
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CatalogError(f"the model catalogue {path} does not exist") from None
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            # YAML's parser recurses, and lets out what it meets when it makes dates and numbers.
            raise CatalogError(f"the model catalogue {path} cannot be read: {error}") from error
        if not isinstance(entries, dict) or not entries:
            raise CatalogError(f"the model catalogue {path} must map model names to entries")
        return cls(
            {str(name): _spec(str(name), entry, path.parent) for name, entry in entries.items()}
        )

    def only(self, names: Sequence[str]) -> "Catalog":
        """The models named, in the order named; all of them when none is.

        Raises:
            CatalogError: a name is not in the catalogue.
        """
        for name in names:
            if name not in self:
                raise CatalogError(
                    f"no model {name!r} in the catalogue; there are: {', '.join(self)}"
                )
        return Catalog({name: self[name] for name in names}) if names else self

    def __getitem__(self, name: str) -> ModelSpec:
        return self._specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


def _spec(name: str, entry: Any, folder: Path) -> ModelSpec:
    if not isinstance(entry, dict):
        raise CatalogError(f"model {name!r}: an entry is a mapping with at least family and source")
    try:
        spec = ModelSpec.model_validate({**entry, "name": name})
    except ValidationError as error:
        errors = error.errors()
        # Without its family an entry lacks every default, which is not what is wrong with it.
        of_family = [item for item in errors if item["loc"] == ("family",)]
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'entry'}: {item['msg']}"
            for item in of_family or errors
        )
        raise CatalogError(f"model {name!r}: {problems}") from error
    try:
        return spec.model_copy(update=dict(_beside(spec, folder)))
    except (OSError, RuntimeError, ValueError) as error:
        raise CatalogError(f"model {name!r}: there can be no such path: {error}") from error


def _beside(spec: ModelSpec, folder: Path) -> Iterator[tuple[str, Any]]:
    """The paths of an entry that are relative to the catalogue's folder, found from anywhere."""

    def found(path: str) -> str:
        return str((folder / Path(path).expanduser()).resolve())

    if spec.is_folder:
        yield "source", found(spec.source)
    if spec.blocklist:
        yield "blocklist", found(spec.blocklist)
    if (checker := spec.safety_checker) and checker.is_folder:
        yield "safety_checker", checker.model_copy(update={"source": found(checker.source)})
