"""The formats that models are saved in: what a folder holds, how it is fetched and loaded."""

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from pipelines.catalog import ModelSpec, SafetyCheckerSpec

#: How files of weights end that can carry code.
UNSAFE_SUFFIXES: Final = (".bin", ".ckpt", ".pt", ".pth", ".pkl")

#: What the index of a folder says, as read from JSON.
Index = dict[str, Any]


def stray_shard(folder: Path) -> str | None:
    """What an index of shards names that is no safetensors beside it: the libraries would open it.

    An index that cannot be read is stray itself.
    """
    for path in folder.glob("*.index.json"):
        try:
            shards = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return path.name
        for shard in map(str, shards):
            if Path(shard).name != shard or not shard.endswith(".safetensors"):
                return shard
    return None


class UnsafeModelError(Exception):
    """Loading would run code from a model; the text says where it comes from."""


class Format(ABC):
    """One library's way to save a model. Only safetensors is read, and never remote code."""

    name: str
    #: The file that says what a folder holds.
    index_name: str
    #: Where in the index the class is named.
    class_key: str
    #: Where a folder has its weights.
    weights: str

    def class_name(self, index: Index) -> Any:
        return index.get(self.class_key)

    @abstractmethod
    def components(self, index: Index, folder: Path) -> Iterable[Path]:
        """The folders that hold weights to be loaded."""

    @abstractmethod
    def fetch(self, spec: ModelSpec) -> str:
        """The local copy of a Hugging Face id, downloaded when it is not there yet."""

    @abstractmethod
    def load(
        self, spec: ModelSpec, index: Index, folder: Path, device: torch.device, dtype: torch.dtype
    ) -> Any:
        """What a pipeline of ours takes apart, on the device.

        Raises:
            UnsafeModelError: it would take code from the model.
        """


class Diffusers(Format):
    """A pipeline: a folder a component, listed in `model_index.json`."""

    name = "diffusers"
    index_name = "model_index.json"
    class_key = "_class_name"
    weights = "*/*.safetensors"
    #: Components that are never loaded, whatever they come as.
    unused: Final = frozenset({"safety_checker"})

    def components(self, index: Index, folder: Path) -> Iterable[Path]:
        return [
            folder / name
            for name, part in index.items()
            if isinstance(part, list) and part[0] is not None and name not in self.unused
        ]

    def fetch(self, spec: ModelSpec) -> str:
        folder: str = _diffusers().DiffusionPipeline.download(
            spec.source, revision=spec.revision, variant=spec.variant, use_safetensors=True
        )
        return folder

    def load(
        self, spec: ModelSpec, index: Index, folder: Path, device: torch.device, dtype: torch.dtype
    ) -> Any:
        diffusers, class_name = _diffusers(), self.class_name(index)
        if not hasattr(diffusers, class_name):
            raise UnsafeModelError(
                f"diffusers has no {class_name}, and code from a model is never run"
            )
        self._check_libraries(index, diffusers)
        kind = getattr(diffusers, class_name)
        # A component saved as null is one the model does without; diffusers wants to be told so.
        options: Index = {name: None for name, part in index.items() if part == [None, None]}
        if "safety_checker" in inspect.signature(kind.__init__).parameters:
            options |= {"safety_checker": None, "requires_safety_checker": False}
        components = kind.from_pretrained(
            str(folder),
            dtype=dtype,
            variant=spec.variant,
            use_safetensors=True,
            local_files_only=True,
            **options,
        )
        components.set_progress_bar_config(disable=True)
        return components.to(device)

    def _check_libraries(self, index: Index, diffusers: Any) -> None:
        """Refuse a component that would be imported from anywhere but the libraries we know."""
        for name, component in index.items():
            library = component[0] if isinstance(component, list) and component else None
            is_known = library in (None, "diffusers", "transformers")
            if not is_known and not hasattr(diffusers.pipelines, str(library)):
                raise UnsafeModelError(
                    f"its {name} comes from {library!r}; only components of diffusers and "
                    "transformers are loaded, never code from a model"
                )


@dataclass(frozen=True)
class ModelAndProcessor:
    """What transformers makes of a folder."""

    model: Any
    processor: Any


class Transformers(Format):
    """One model and its processor, described in `config.json`."""

    name = "transformers"
    index_name = "config.json"
    class_key = "architectures"
    weights = "*.safetensors"
    _FILES: Final = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")

    def class_name(self, index: Index) -> Any:
        return next(iter(index.get(self.class_key) or ()), None)

    def components(self, index: Index, folder: Path) -> Iterable[Path]:
        return [folder]

    def fetch(self, spec: ModelSpec | SafetyCheckerSpec) -> str:
        import huggingface_hub

        return huggingface_hub.snapshot_download(
            spec.source, revision=spec.revision, allow_patterns=list(self._FILES)
        )

    def load(
        self, spec: ModelSpec, index: Index, folder: Path, device: torch.device, dtype: torch.dtype
    ) -> ModelAndProcessor:
        transformers = transformers_library()
        options = {"local_files_only": True, "trust_remote_code": False}
        model = getattr(transformers, self.class_name(index)).from_pretrained(
            str(folder),
            dtype=dtype,
            variant=spec.variant,
            use_safetensors=True,
            attn_implementation="sdpa",
            **options,
        )
        processor = transformers.AutoProcessor.from_pretrained(str(folder), **options)
        return ModelAndProcessor(model.eval().to(device), processor)


def _diffusers() -> Any:
    """diffusers, quiet: it would print users' prompts, and what we report in our own way."""
    # It is told with its first import, so transformers must be quiet before.
    transformers_library()
    import diffusers

    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    return diffusers


def transformers_library() -> Any:
    """transformers, quiet for the same reasons."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers
