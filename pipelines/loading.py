"""From a catalogue entry to a loaded pipeline. Only safetensors, never remote code."""

import importlib
import inspect
import json
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch

from pipelines.catalog import Family, ModelSpec
from pipelines.device import default_device
from pipelines.errors import ModelLoadError
from pipelines.pipeline import Pipeline
from pipelines.weights import saved_bytes

__all__ = ["RUNNERS", "check_folder", "default_device", "load_pipeline"]

log = logging.getLogger(__name__)

#: Components that are never loaded, whatever they come as.
UNUSED: Final = frozenset({"safety_checker"})

#: While transformers loads a model, no module made anywhere in the process gets memory.
_LOADING = threading.Lock()

#: Which of our classes runs a pipeline class of diffusers, by the family that the entry states;
#: "*" is any other class.
RUNNERS: Final[Mapping[Family, Mapping[str, str]]] = MappingProxyType(
    {
        Family.STABLE_DIFFUSION: {
            "StableDiffusionPipeline": "pipelines.stable_diffusion:StableDiffusion",
            "LatentConsistencyModelPipeline": "pipelines.stable_diffusion:StableDiffusion",
        },
        Family.SDXL: {"StableDiffusionXLPipeline": "pipelines.sdxl:StableDiffusionXL"},
        Family.FLOW: {
            "StableDiffusion3Pipeline": "pipelines.flow:StableDiffusion3",
            "FluxPipeline": "pipelines.flow:Flux",
        },
        Family.WHOLE: {"*": "pipelines.whole:Whole"},
    }
)


def load_pipeline(spec: ModelSpec, device: torch.device) -> Pipeline:
    """Load a model onto a device.

    Raises:
        ModelLoadError: the entry's source is missing, is another family, or has no safetensors.
    """
    begun_s = time.monotonic()
    if spec.is_folder:
        check_folder(spec, Path(spec.source))
    folder = Path(spec.source) if spec.is_folder else _fetch(spec)
    class_name = check_folder(spec, folder)
    with _LOADING:
        components = _components(spec, folder, class_name, device)
    module, _, runner = str(_runner(spec.family, class_name)).partition(":")
    pipeline: Pipeline = getattr(importlib.import_module(module), runner)(spec, components, device)
    log.info(
        "loaded model %s on %s: %.0f MB in %.1f s",
        spec.name,
        device,
        pipeline.size_bytes / 1e6,
        time.monotonic() - begun_s,
    )
    return pipeline


def weigh_model(spec: ModelSpec, device: torch.device) -> int:
    """What a model in a local folder will take on a device, in bytes; 0 for one not fetched yet."""
    if not spec.is_folder:
        return 0
    return saved_bytes(Path(spec.source), spec.variant, _dtype(spec, device))


def check_folder(spec: ModelSpec, folder: Path) -> str:
    """The diffusers class in a folder, where the entry's family can run it. Reads no weights.

    Raises:
        ModelLoadError: the folder is not what the entry says.
    """
    if not folder.is_dir():
        raise _error(spec, f"the folder {folder} does not exist")
    index_path = folder / "model_index.json"
    try:
        index = json.loads(index_path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _error(
            spec, f"{folder} has no model_index.json; is it in diffusers format?"
        ) from None
    except (OSError, ValueError) as error:
        raise _error(spec, f"{index_path} cannot be read: {error}") from error
    class_name = index.get("_class_name") if isinstance(index, dict) else None
    if not isinstance(class_name, str):
        raise _error(spec, f"{index_path} does not name its pipeline in _class_name")
    _check_family(spec, class_name)
    for name, component in index.items():
        if isinstance(component, list) and component[0] is not None and name not in UNUSED:
            _check_weights(spec, folder / name)
    return class_name


def _runner(family: Family, class_name: str) -> str | None:
    classes = RUNNERS[family]
    return classes.get(class_name, classes.get("*"))


def _check_family(spec: ModelSpec, class_name: str) -> None:
    if _runner(spec.family, class_name) is not None:
        return
    fitting = next(family for family in Family if _runner(family, class_name) is not None)
    raise _error(
        spec,
        f"it is a {class_name}, which family {spec.family} does not run; write family: {fitting}",
    )


def _check_weights(spec: ModelSpec, component: Path) -> None:
    """Refuse a component whose weights are there, but only in a format that can carry code."""
    files = list(component.iterdir()) if component.is_dir() else []
    has_safetensors = any(file.suffix == ".safetensors" for file in files)
    unsafe = [
        file.name for file in files if file.suffix in {".bin", ".ckpt", ".pt", ".pth", ".pkl"}
    ]
    if unsafe and not has_safetensors:
        raise _error(
            spec,
            f"{component} has its weights as {unsafe[0]} only, which can carry code; "
            "convert them to safetensors",
        )


def _check_libraries(spec: ModelSpec, index: dict[str, Any], diffusers: Any) -> None:
    """Refuse a component that would be imported from anywhere but the libraries we know."""
    for name, component in index.items():
        library = component[0] if isinstance(component, list) and component else None
        is_known = library in (None, "diffusers", "transformers")
        if not is_known and not hasattr(diffusers.pipelines, str(library)):
            raise _error(
                spec,
                f"its {name} comes from {library!r}; only components of diffusers and transformers "
                "are loaded, never code from a model",
            )


def _fetch(spec: ModelSpec) -> Path:
    """The local copy of a Hugging Face id, downloaded when it is not there yet."""
    diffusers = _diffusers()
    try:
        folder = diffusers.DiffusionPipeline.download(
            spec.source, revision=spec.revision, variant=spec.variant, use_safetensors=True
        )
    except Exception as error:
        log.exception("fetching model %s failed", spec.name)
        raise _error(spec, f"{spec.source} cannot be fetched: {_first_line(error)}") from error
    return Path(folder)


def _components(spec: ModelSpec, folder: Path, class_name: str, device: torch.device) -> Any:
    """The diffusers pipeline in a folder, on the device, ready to be taken apart."""
    diffusers = _diffusers()
    if not hasattr(diffusers, class_name):
        raise _error(spec, f"diffusers has no {class_name}, and code from a model is never run")
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    _check_libraries(spec, index, diffusers)
    # A component saved as null is one the model does without; diffusers wants to be told so.
    options: dict[str, Any] = {name: None for name, part in index.items() if part == [None, None]}
    if "safety_checker" in inspect.signature(getattr(diffusers, class_name).__init__).parameters:
        options |= {"safety_checker": None, "requires_safety_checker": False}
    try:
        components = getattr(diffusers, class_name).from_pretrained(
            str(folder),
            dtype=_dtype(spec, device),
            variant=spec.variant,
            use_safetensors=True,
            local_files_only=True,
            **options,
        )
        components.set_progress_bar_config(disable=True)
        return components.to(device)
    except Exception as error:
        log.exception("loading model %s failed", spec.name)
        raise _error(spec, f"{folder} cannot be loaded: {_first_line(error)}") from error


def _dtype(spec: ModelSpec, device: torch.device) -> torch.dtype:
    if spec.dtype == "auto":
        if device.type == "cpu":
            return torch.float32
        # T5 and flow transformers overflow in float16.
        return torch.bfloat16 if spec.family is Family.FLOW else torch.float16
    dtype: torch.dtype = getattr(torch, spec.dtype)
    return dtype


def _diffusers() -> Any:
    """diffusers, quiet: it would print users' prompts, and what we report in our own way."""
    import transformers

    transformers.logging.set_verbosity_error()
    import diffusers

    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    transformers.logging.disable_progress_bar()
    return diffusers


def _error(spec: ModelSpec, what: str) -> ModelLoadError:
    return ModelLoadError(f"model {spec.name!r}: {what}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
