"""From a catalogue entry to a loaded pipeline. Only safetensors, never remote code."""

import importlib
import json
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch

from pipelines.catalog import Family, ModelSpec
from pipelines.device import default_device
from pipelines.errors import ModelLoadError
from pipelines.formats import (
    UNSAFE_SUFFIXES,
    Diffusers,
    Format,
    Index,
    Transformers,
    UnsafeModelError,
    stray_shard,
)
from pipelines.pipeline import Pipeline
from pipelines.safety import fetch_checker, load_checker, weigh_checker
from pipelines.weights import saved_bytes

__all__ = ["RUNNERS", "check_folder", "default_device", "fetch", "load_pipeline"]

log = logging.getLogger(__name__)

#: While transformers loads a model, no module made anywhere in the process gets memory.
_LOADING = threading.Lock()

#: How the models of a family are saved.
FORMATS: Final[Mapping[Family, Format]] = MappingProxyType(
    dict.fromkeys(Family, Diffusers()) | {Family.JANUS: Transformers()}
)

#: Which of our classes runs a class of the library's, by the family that the entry states; "*" is
#: any other class.
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
        Family.JANUS: {"JanusForConditionalGeneration": "pipelines.janus:Janus"},
        Family.WHOLE: {"*": "pipelines.whole:Whole"},
    }
)

#: The type of weights on a GPU where the entry names none; float16 for the others.
_GPU_DTYPES: Final[Mapping[Family, torch.dtype]] = MappingProxyType(
    {
        # T5 and flow transformers overflow in float16.
        Family.FLOW: torch.bfloat16,
        # As it was trained and published.
        Family.JANUS: torch.bfloat16,
    }
)


def load_pipeline(spec: ModelSpec, device: torch.device) -> Pipeline:
    """Load a model onto a device.

    Raises:
        ModelLoadError: the entry's source is missing, is another family, or has no safetensors.
    """
    begun_s = time.monotonic()
    folder = fetch(spec)
    class_name = check_folder(spec, folder)
    pipeline = _loaded(spec, folder, _runner_class(spec.family, class_name), device)
    log.info(
        "loaded model %s on %s: %.0f MB in %.1f s",
        spec.name,
        device,
        pipeline.size_bytes / 1e6,
        time.monotonic() - begun_s,
    )
    return pipeline


def weigh_model(spec: ModelSpec, device: torch.device) -> int:
    """What a model in a local folder will take on a device, in bytes; 0 for one not fetched yet.

    Raises:
        ModelLoadError: the folder is not what the entry says.
    """
    folder, dtype = Path(spec.source), _dtype(spec, device)
    if not spec.is_folder or not folder.is_dir():
        return 0
    runner = _runner_class(spec.family, check_folder(spec, folder))
    weights = saved_bytes(folder, FORMATS[spec.family].weights, spec.variant, dtype)
    return weights + runner.set_aside_bytes(spec, folder, dtype) + weigh_checker(spec)


def check_folder(spec: ModelSpec, folder: Path) -> str:
    """The library's class in a folder, where the entry's family can run it. Reads no weights.

    Raises:
        ModelLoadError: the folder is not what the entry says.
    """
    if not folder.is_dir():
        raise _error(spec, f"the folder {folder} does not exist")
    saved = FORMATS[spec.family]
    index = _index(spec, folder)
    class_name = saved.class_name(index)
    if not isinstance(class_name, str):
        path = folder / saved.index_name
        raise _error(spec, f"{path} does not name its pipeline in {saved.class_key}")
    _check_family(spec, class_name)
    for component in saved.components(index, folder):
        _check_weights(spec, component)
    return class_name


def _index(spec: ModelSpec, folder: Path) -> Index:
    saved = FORMATS[spec.family]
    path = folder / saved.index_name
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _error(
            spec, f"{folder} has no {saved.index_name}; is it in {saved.name} format?"
        ) from None
    except (OSError, ValueError) as error:
        raise _error(spec, f"{path} cannot be read: {error}") from error
    return index if isinstance(index, dict) else {}


def _runner(family: Family, class_name: str) -> str | None:
    classes = RUNNERS[family]
    return classes.get(class_name, classes.get("*"))


def _runner_class(family: Family, class_name: str) -> type[Pipeline]:
    module, _, name = str(_runner(family, class_name)).partition(":")
    runner: type[Pipeline] = getattr(importlib.import_module(module), name)
    return runner


def _check_family(spec: ModelSpec, class_name: str) -> None:
    if _runner(spec.family, class_name) is not None:
        return
    fitting = [
        f"write family: {family}"
        for family in Family
        if FORMATS[family] is FORMATS[spec.family] and _runner(family, class_name)
    ]
    mend = next(iter(fitting), f"it runs {', '.join(RUNNERS[spec.family])}")
    raise _error(spec, f"it is a {class_name}, which family {spec.family} does not run; {mend}")


def _check_weights(spec: ModelSpec, component: Path) -> None:
    """Refuse a component whose weights are there, but only in a format that can carry code."""
    files = list(component.iterdir()) if component.is_dir() else []
    has_safetensors = any(file.suffix == ".safetensors" for file in files)
    unsafe = [file.name for file in files if file.suffix in UNSAFE_SUFFIXES]
    if unsafe and not has_safetensors:
        raise _error(
            spec,
            f"{component} has its weights as {unsafe[0]} only, which can carry code; "
            "convert them to safetensors",
        )
    if (stray := stray_shard(component)) is not None:
        raise _error(spec, f"{component}: its index names {stray!r}, no safetensors beside it")


def fetch(spec: ModelSpec) -> Path:
    """Where a model lies on this machine; it and its safety checker are downloaded where they lack.

    Raises:
        ModelLoadError: one of them cannot be had.
    """
    try:
        fetch_checker(spec)
        return Path(spec.source if spec.is_folder else FORMATS[spec.family].fetch(spec))
    except ModelLoadError as error:
        raise _named(spec, error) from None
    except Exception as error:
        log.exception("fetching model %s failed", spec.name)
        raise _error(spec, f"{spec.source} cannot be fetched: {_first_line(error)}") from error


def _loaded(
    spec: ModelSpec, folder: Path, runner: type[Pipeline], device: torch.device
) -> Pipeline:
    """What the library makes of a folder, on the device, taken apart by one of our classes."""
    index, dtype = _index(spec, folder), _dtype(spec, device)
    try:
        with _LOADING:
            components = FORMATS[spec.family].load(spec, index, folder, device, dtype)
            checker = load_checker(spec, device)
        pipeline = runner(spec, components, device)
        if checker:
            pipeline.checker = checker
            pipeline.size_bytes += checker.size_bytes
        return pipeline
    except ModelLoadError as error:
        raise _named(spec, error) from None
    except UnsafeModelError as error:
        raise _error(spec, str(error)) from None
    except Exception as error:
        log.exception("loading model %s failed", spec.name)
        raise _error(spec, f"{folder} cannot be loaded: {_first_line(error)}") from error


def _dtype(spec: ModelSpec, device: torch.device) -> torch.dtype:
    if spec.dtype == "auto":
        if device.type == "cpu":
            return torch.float32
        return _GPU_DTYPES.get(spec.family, torch.float16)
    dtype: torch.dtype = getattr(torch, spec.dtype)
    return dtype


def _error(spec: ModelSpec, what: str) -> ModelLoadError:
    return ModelLoadError(f"model {spec.name!r}: {what}")


def _named(spec: ModelSpec, error: ModelLoadError) -> ModelLoadError:
    """The same, with the entry that it is about."""
    return error if str(error).startswith("model ") else _error(spec, str(error))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
