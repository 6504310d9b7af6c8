"""A picture's outline from its latents: a linear map from latent channels to colours."""

import torch
from PIL import Image

from pipelines.pixels import to_images

#: Previews are no larger than this on their longer side, in pixels.
MAX_SIDE = 256
#: Latents that the map is fitted to, and their side.
_SAMPLES, _SIDE = 4, 16


def fit_colours(latents: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """The linear map that comes nearest to what a decoder makes of latents.

    Least squares over every place of every picture: the decoder is far from linear, yet most of a
    place's colour is told by its own latent.

    Args:
        latents: (batch, channels, height/8, width/8).
        pixels: what they decode to, (batch, 3, height, width) in -1..1.

    Returns:
        (channels + 1, 3), the last row added to all.
    """
    colours = torch.nn.functional.interpolate(pixels, latents.shape[-2:], mode="area")
    inputs = _with_ones(latents)
    targets = colours.permute(0, 2, 3, 1).reshape(-1, 3)
    # A little weight decay keeps channels that the decoder ignores from running wild.
    squares = inputs.T @ inputs + 1e-3 * len(inputs) * torch.eye(inputs.shape[1])
    return torch.linalg.solve(squares, inputs.T @ targets)


def paint_preview(latents: torch.Tensor, colours: torch.Tensor) -> Image.Image:
    """Latents in colour, (1, channels, height/8, width/8); blown up where they are few."""
    places = (_with_ones(latents) @ colours).T.unflatten(1, latents.shape[-2:])
    [picture] = to_images(places.unsqueeze(0))
    scale = max(1, min(8, MAX_SIDE // max(picture.size)))
    return picture.resize(
        (picture.width * scale, picture.height * scale), Image.Resampling.BILINEAR
    )


def sample_latents(channels: int) -> torch.Tensor:
    """Latents to fit a map to, (4, channels, 16, 16): patches of even colour, as pictures have."""
    generator = torch.Generator("cpu").manual_seed(0)
    patches = torch.randn(_SAMPLES, channels, 4, 4, generator=generator)
    grain = torch.randn(_SAMPLES, channels, _SIDE, _SIDE, generator=generator)
    even = torch.nn.functional.interpolate(patches, (_SIDE, _SIDE), mode="nearest")
    return even + 0.3 * grain


def _with_ones(latents: torch.Tensor) -> torch.Tensor:
    """(batch, channels, height, width) to (batch * height * width, channels + 1) on the CPU."""
    places = latents.float().cpu().permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    return torch.cat([places, torch.ones(len(places), 1)], dim=1)
