"""What a model weighs, loaded or not."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch


def loaded_bytes(components: Iterable[Any]) -> int:
    """What the modules among a model's components take where they are."""
    return sum(
        tensor.numel() * tensor.element_size()
        for module in components
        if isinstance(module, torch.nn.Module)
        for tensor in [*module.parameters(), *module.buffers()]
    )


def saved_bytes(folder: Path, pattern: str, variant: str | None, dtype: torch.dtype) -> int:
    """What the weights in a folder will take when loaded in a type; reads headers only.

    Args:
        pattern: which files hold weights.
    """
    files = [
        file for file in folder.glob(pattern) if variant is None or f".{variant}." in file.name
    ]
    return sum(_count_weights(file) for file in files) * dtype.itemsize


def _count_weights(file: Path) -> int:
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    return sum(math.prod(entry["shape"]) for entry in tensors)
