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
    """What every demo model has in common: what it sees, and where it learns."""

    seed: int = 0
    #: Where to train, as torch names it. Chance is always drawn on the CPU.
    device: str = "cpu"

    #: Width and height of a picture in pixels.
    picture: int = 64
    #: How many scenes of the endless stream a model learns to draw.
    scenes: int = 28_000
    #: The share of scenes with one thing; the others hold two.
    alone_share: float = 0.72
    #: The share of captions that get a made-up word.
    distracted_share: float = 0.1

    #: Upper bound of the tokenizer's vocabulary; the captions need fewer.
    vocabulary: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionRecipe(Recipe):
    """`shapes-sd` is `DiffusionRecipe()`; a larger one is the same class with other numbers."""

    max_tokens: int = 32
    text_width: int = 128
    text_layers: int = 3
    text_mlp: int = 384
    text_heads: int = 4
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


@dataclass(frozen=True, slots=True, kw_only=True)
class JanusRecipe(Recipe):
    """`shapes-janus` is `JanusRecipe()`."""

    scenes: int = 40_000

    #: Tokens to a row and to a column of a picture; each stands for 8x8 pixels.
    grid: int = 8
    number_of_codes: int = 1024
    code_width: int = 16
    #: transformers' JanusVQVAE normalises channels in 32 groups. With one channel to a group the
    #: decoder's last layer would not know a dark ground from a bright one, so there are two.
    vq_channels: int = 64
    vq_multiplier: tuple[int, ...] = (1, 1, 1, 2)
    #: Residual blocks at each width of the encoder; the decoder has one more.
    vq_blocks: int = 0
    #: Weight of the encoder's distance from its codes, against the error per pixel value.
    commitment: float = 0.1
    #: How much of a code's running mean each step keeps.
    code_memory: float = 0.98
    #: A code that stands for fewer vectors a step than this is dead and moves elsewhere...
    code_least: float = 0.03
    #: ...every so many steps...
    revive_every: int = 50
    #: ...until this share of the steps.
    revive_share: float = 0.6
    sketch_channels: int = 256
    codes: Schedule = field(
        default_factory=lambda: Schedule(steps=2500, batch=32, peak_rate=2e-3, warmup=50, hold=0.6)
    )
    #: The decoder first learns from cut-outs of so many tokens to a row, for a share of its steps.
    decoder_cutout: int = 4
    decoder_cutout_share: float = 0.6
    decoder: Schedule = field(
        default_factory=lambda: Schedule(
            steps=1600, batch=16, peak_rate=1.5e-3, warmup=50, hold=0.6
        )
    )

    #: Of a prompt with its template.
    max_tokens: int = 192
    width: int = 192
    aligner_layers: int = 2
    layers: int = 6
    heads: int = 6
    mlp: int = 512
    #: Short sequences need no long waves of position; most models' 10,000 would waste them here.
    rope_theta: float = 1000.0
    #: Weight of naming what the caption says, per attribute, against the cross-entropy of a token.
    reading_weight: float = 0.5
    #: The share of pictures trained with a prompt without words, for classifier-free guidance.
    empty_share: float = 0.1
    average: float = 0.999
    backbone: Schedule = field(
        default_factory=lambda: Schedule(steps=3100, batch=32, peak_rate=1.5e-3, warmup=100)
    )

    #: How the saved model is meant to be run.
    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 0.95
    guidance: float = 1.5

    def revives(self, step: int) -> bool:
        """Whether dead codes are moved after `step`."""
        return step % self.revive_every == 0 and step < self.revive_share * self.codes.steps
