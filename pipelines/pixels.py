"""From a decoder's output to pictures."""

import torch
from PIL import Image


def to_images(pixels: torch.Tensor) -> list[Image.Image]:
    """Pixels (batch, 3, height, width) in -1..1 to RGB pictures; what lies outside is clipped."""
    levels = (pixels.float() * 0.5 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return [Image.fromarray(level) for level in levels.permute(0, 2, 3, 1).cpu().numpy()]
