"""Everything that decides what the demo model becomes: sizes, steps, rates. Data, no code."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One stage's steps. The rate warms up, holds, then falls to zero in a straight line.

    Holding (rather than a cosine) lets a resumed run take fewer or more steps than it was
    started with, and still end at zero.
    """

    steps: int
    batch: int
    peak_rate: float
    warmup: int
    #: The share of the steps after which the rate falls.
    hold: float = 0.6

    def rate(self, step: int) -> float:
        """The learning rate at `step`, from 0."""
        falling = (self.steps - step) / max(1.0, self.steps * (1 - self.hold))
        return self.peak_rate * min(1.0, (step + 1) / self.warmup, falling)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The shipped model is `Recipe()`; a larger one is the same class with other numbers."""

    seed: int = 0
    #: Where to train, as torch names it. Chance is always drawn on the CPU.
    device: str = "cpu"

    #: Width and height of a picture in pixels.
    picture: int = 64
    #: How many scenes the UNet is trained on; the VAE draws from the same stream.
    scenes: int = 28_000
    #: The share of scenes with one thing; the others hold two.
    alone_share: float = 0.72

    #: Upper bound of the tokenizer's vocabulary; the captions need fewer.
    vocabulary: int = 1024
    max_tokens: int = 32
    text_width: int = 128
    text_layers: int = 3
    text_mlp: int = 384
    text_heads: int = 4
    #: The share of captions that get a made-up word.
    distracted_share: float = 0.1
    text: Schedule = field(
        default_factory=lambda: Schedule(steps=1000, batch=64, peak_rate=1.5e-3, warmup=50)
    )

    vae_channels: tuple[int, ...] = (16, 32, 64, 64)
    vae_groups: int = 4
    latent_channels: int = 8
    #: Weight of the KL term, per latent value, against the error per pixel value.
    kl_weight: float = 5e-4
    #: The VAE first learns from cut-outs this wide, several times cheaper than whole pictures...
    vae_cutout: int = 32
    #: ...for this share of its steps.
    vae_cutout_share: float = 0.32
    vae: Schedule = field(
        default_factory=lambda: Schedule(
            steps=3400, batch=16, peak_rate=1.5e-3, warmup=50, hold=0.7
        )
    )

    #: The decoder goes on alone once the latents are fixed.
    decoder: Schedule = field(
        default_factory=lambda: Schedule(steps=1200, batch=16, peak_rate=1e-3, warmup=50, hold=0.4)
    )

    unet_channels: tuple[int, ...] = (64, 128)
    unet_layers: int = 1
    unet_heads: int = 4
    unet_groups: int = 8
    #: The share of pictures trained with an empty prompt, for classifier-free guidance.
    empty_share: float = 0.12
    #: Timesteps are drawn as 1000 * u ** noise_bias: below 1, more of the noisy ones, where
    #: colours are decided.
    noise_bias: float = 0.75
    unet_average: float = 0.999
    unet: Schedule = field(
        default_factory=lambda: Schedule(steps=4300, batch=64, peak_rate=1e-3, warmup=200)
    )

    #: How the saved pipeline is meant to be run.
    inference_steps: int = 20
    guidance: float = 2.0
