"""A picture's outline from its latents: each place's colour told by its own latent.

Fitted for every model to its own VAE when it is loaded. A linear map suffices where channels are
close to colours; where they are not, a few hundred random bends let the same least squares follow
(random features; Rahimi and Recht, 2008, "Weighted sums of random kitchen sinks").
"""

import functools

import torch
from PIL import Image

from pipelines.pixels import to_images

#: Previews are no larger than this on their longer side, in pixels.
MAX_SIDE = 256
#: Pictures that the map is fitted to, in latents on each side, and how many patches each has there.
_SIDE, _PATCHES = 16, (2, 3, 4, 5, 6, 7, 9, 11)
_BENDS = 256


def sample_pictures(vae_scale: int) -> torch.Tensor:
    """Pictures to fit a map to: (8, 3, 16 * vae_scale, 16 * vae_scale) in -1..1.

    Patches of random colours, from a quarter of the picture down to little more than a latent.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    side = _SIDE * vae_scale
    patches = [torch.rand(1, 3, count, count, generator=generator) * 2 - 1 for count in _PATCHES]
    return torch.cat([torch.nn.functional.interpolate(each, (side, side)) for each in patches])


def fit_colours(latents: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """The map that comes nearest to what a decoder makes of latents, by least squares.

    Args:
        latents: (batch, channels, height/8, width/8), as the VAE made them.
        pixels: what they decode to, (batch, 3, height, width) in -1..1.

    Returns:
        (features, 3), for `paint_preview`.
    """
    pixels = pixels.float().cpu().clamp(-1, 1)
    colours = torch.nn.functional.interpolate(pixels, latents.shape[-2:], mode="area")
    inputs = _features(latents)
    targets = colours.permute(0, 2, 3, 1).reshape(-1, 3)
    # A little weight decay keeps features that say nothing from running wild.
    squares = inputs.T @ inputs + 1e-3 * len(inputs) * torch.eye(inputs.shape[1])
    return torch.linalg.solve(squares, inputs.T @ targets)


def paint_preview(latents: torch.Tensor, colours: torch.Tensor) -> Image.Image:
    """Latents in colour, (1, channels, height/8, width/8); blown up where they are few."""
    places = (_features(latents) @ colours).T.unflatten(1, latents.shape[-2:])
    [picture] = to_images(places.unsqueeze(0))
    scale = max(1, min(8, MAX_SIDE // max(picture.size)))
    return picture.resize(
        (picture.width * scale, picture.height * scale), Image.Resampling.BILINEAR
    )


def _features(latents: torch.Tensor) -> torch.Tensor:
    """What each place's colour is a sum of: (batch * height * width, channels + 1 + bends).

    From (batch, channels, height, width) on any device, to the CPU.
    """
    places = latents.float().cpu().permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    directions, offsets = _bends(places.shape[1])
    bent = torch.relu(places @ directions + offsets)
    return torch.cat([places, torch.ones(len(places), 1), bent], dim=1)


@functools.cache
def _bends(channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the map may bend: directions (channels, bends) of about unit length, and offsets."""
    generator = torch.Generator("cpu").manual_seed(0)
    directions = torch.randn(channels, _BENDS, generator=generator) / channels**0.5
    return directions, torch.randn(_BENDS, generator=generator)
