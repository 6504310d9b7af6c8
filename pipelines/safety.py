"""Looks at finished pictures before anybody gets them: a classifier beside the model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from pipelines.catalog import ModelSpec, SafetyAction, SafetyCheckerSpec
from pipelines.errors import ModelLoadError
from pipelines.formats import UNSAFE_SUFFIXES, Transformers, stray_shard, transformers_library
from pipelines.pipeline import Picture
from pipelines.weights import loaded_bytes, saved_bytes

#: The end of a class's name that transformers gives to classifiers of pictures.
_CLASSIFIER = "ForImageClassification"


class SafetyChecker:
    """A classifier, loaded, and what is done about what it finds."""

    def __init__(self, spec: SafetyCheckerSpec, model: Any, processor: Any) -> None:
        """
        Args:
            model: a `...ForImageClassification` of transformers, on its device.

        Raises:
            ModelLoadError: it has no label of a name that the entry gives.
        """
        self._spec, self._model, self._processor = spec, model, processor
        self._labels: Mapping[int, str] = model.config.id2label
        for label in spec.labels:
            if label not in self._labels.values():
                known = ", ".join(self._labels.values())
                raise ModelLoadError(f"the safety checker has no label {label!r}; it has: {known}")
        self.size_bytes = loaded_bytes([model])

    def examine(self, pictures: Sequence[Picture]) -> list[Picture]:
        """The pictures, with what was found in each; a black one for each that is withheld."""
        scores = self._scores([picture.image for picture in pictures])
        return [self._judged(*pair) for pair in zip(pictures, scores, strict=True)]

    def _scores(self, images: list[Image.Image]) -> list[dict[str, float]]:
        """For each picture, how sure the classifier is of each label, from 0 to 1."""
        pixels = self._processor(images=images, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            # (pictures, labels)
            logits = self._model(pixels.to(self._model.device, self._model.dtype)).logits.float()
        is_independent = self._model.config.problem_type == "multi_label_classification"
        rows = (logits.sigmoid() if is_independent else logits.softmax(-1)).tolist()
        return [{self._labels[index]: score for index, score in enumerate(row)} for row in rows]

    def _judged(self, picture: Picture, scores: Mapping[str, float]) -> Picture:
        found = tuple(name for name, least in self._spec.labels.items() if scores[name] >= least)
        if found and self._spec.action is SafetyAction.REFUSE:
            black = Image.new("RGB", picture.image.size)
            return replace(picture, image=black, flagged=found, is_withheld=True)
        return replace(picture, flagged=found)


def load_checker(spec: ModelSpec, device: torch.device) -> SafetyChecker | None:
    """The safety checker of an entry, if it has one.

    Raises:
        ModelLoadError: it cannot be had, is no classifier, or has no safetensors.
    """
    entry, folder = spec.safety_checker, fetch_checker(spec)
    if entry is None or folder is None:
        return None
    transformers = transformers_library()
    options = {"local_files_only": True, "trust_remote_code": False}
    model = transformers.AutoModelForImageClassification.from_pretrained(
        str(folder), use_safetensors=True, dtype=torch.float32, **options
    )
    processor = transformers.AutoImageProcessor.from_pretrained(
        str(folder), backend="pil", **options
    )
    return SafetyChecker(entry, model.eval().to(device), processor)


def fetch_checker(spec: ModelSpec) -> Path | None:
    """Where the safety checker of an entry lies, downloaded when it is not there yet.

    Raises:
        ModelLoadError: it cannot be had, is no classifier, or has no safetensors.
    """
    entry = spec.safety_checker
    if entry is None:
        return None
    try:
        folder = Path(entry.source if entry.is_folder else Transformers().fetch(entry))
    except Exception as error:
        raise ModelLoadError(
            f"the safety checker {entry.source} cannot be fetched ({type(error).__name__})"
        ) from error
    _check(folder)
    return folder


def weigh_checker(spec: ModelSpec) -> int:
    """What the safety checker of an entry will take, in bytes; 0 for one not fetched yet."""
    entry = spec.safety_checker
    if entry is None or not entry.is_folder:
        return 0
    return saved_bytes(Path(entry.source), Transformers.weights, None, torch.float32)


def _check(folder: Path) -> None:
    """Look at a folder without loading anything.

    Raises:
        ModelLoadError: it is not what a safety checker must be.
    """
    try:
        config = json.loads((folder / Transformers.index_name).read_text(encoding="utf-8"))
        name = str(Transformers().class_name(config))
    except (OSError, ValueError, AttributeError, TypeError):
        raise ModelLoadError(f"the safety checker {folder} has no config.json to read") from None
    if not name.endswith(_CLASSIFIER):
        raise ModelLoadError(f"the safety checker {folder} is a {name}, which labels no pictures")
    files = {file.suffix: file.name for file in folder.iterdir()}
    if ".safetensors" not in files:
        unsafe = next((files[suffix] for suffix in UNSAFE_SUFFIXES if suffix in files), "no file")
        raise ModelLoadError(
            f"the safety checker {folder} has its weights as {unsafe} only; "
            "convert them to safetensors"
        )
    if (stray := stray_shard(folder)) is not None:
        raise ModelLoadError(
            f"the safety checker {folder}: its index names {stray!r}, no safetensors beside it"
        )
