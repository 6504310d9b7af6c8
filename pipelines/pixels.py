"""From a decoder's output to pictures."""

from collections.abc import Sequence

import torch
from PIL import Image

_HALF = (0.5, 0.5, 0.5)


def to_images(
    pixels: torch.Tensor, mean: Sequence[float] = _HALF, deviation: Sequence[float] = _HALF
) -> list[Image.Image]:
    """Pixels (batch, 3, height, width) to RGB pictures; what lies outside is clipped.

    Args:
        mean, deviation: of each colour, by which pixels were normalised from 0..1; by default they
            lie in -1..1.
    """
    shift, scale = (torch.tensor(each, device=pixels.device) for each in (mean, deviation))
    colours = pixels.float().permute(0, 2, 3, 1) * scale + shift
    levels = colours.clamp(0, 1).mul(255).round().to(torch.uint8)
    return [Image.fromarray(level) for level in levels.cpu().numpy()]
