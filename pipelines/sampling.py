"""How a token is drawn from its scores: many images at once, each by its own rules."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """One image's rules, in the order in which they apply; the defaults change nothing."""

    #: What scores are divided by; 0 always takes the likeliest token.
    temperature: float = 1.0
    #: Only so many of the likeliest tokens are left; 0 leaves all.
    top_k: int = 0
    #: Only the likeliest tokens that together reach this probability are left (Holtzman et al.,
    #: 2020); 1 leaves all.
    top_p: float = 1.0

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0


def guide(scores: torch.Tensor, unguided: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Classifier-free guidance: scores pulled away from those without a prompt.

    Args:
        scores: (images, tokens), with the prompt.
        unguided: the same without; where it is the same tensor's row, guidance changes nothing.
        scales: (images,).
    """
    return unguided + (scores - unguided) * scales.unsqueeze(1)


def draw_tokens(
    scores: torch.Tensor, rules: Sequence[Sampling], noise: torch.Tensor
) -> torch.Tensor:
    """A token for each image: the one whose probability is highest over its noise.

    With noise from the exponential distribution this draws from the scores' own distribution, and
    is what `torch.multinomial` does for one draw: the same generator gives the same token.

    Args:
        scores: (images, tokens) in float32.
        noise: (images, tokens), see `draw_noise`.

    Returns:
        (images,).
    """
    probabilities = _apply(rules, scores).softmax(dim=-1)
    drawn = (probabilities / noise).argmax(dim=-1)
    if not any(rule.is_greedy for rule in rules):
        return drawn
    is_greedy = torch.tensor([rule.is_greedy for rule in rules], device=scores.device)
    return torch.where(is_greedy, scores.argmax(dim=-1), drawn)


def draw_noise(generator: torch.Generator, tokens: int) -> torch.Tensor:
    """What one draw among so many tokens takes from a generator: (tokens,), on its device."""
    noise = torch.empty(tokens, device=generator.device)
    return noise.exponential_(generator=generator)


def _apply(rules: Sequence[Sampling], scores: torch.Tensor) -> torch.Tensor:
    """Temperature, then top-k, then top-p, as transformers' `generate` orders them."""

    def column(values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, device=scores.device).unsqueeze(1)

    if any(rule.temperature not in (0, 1) for rule in rules):
        scores = scores / column([rule.temperature or 1.0 for rule in rules])
    if any(rule.top_k for rule in rules):
        most = scores.shape[-1]
        scores = _keep_top_k(scores, column([min(rule.top_k or most, most) for rule in rules]))
    if any(rule.top_p < 1 for rule in rules):
        # The tail's share, not the head's: 1 - p rounds differently in float32.
        scores = _keep_top_p(scores, column([1 - rule.top_p for rule in rules]))
    return scores


def _keep_top_k(scores: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Ties with the last one kept stay too, as in transformers."""
    ordered = scores.sort(dim=-1, descending=True).values
    return scores.masked_fill(scores < ordered.gather(-1, counts - 1), -torch.inf)


def _keep_top_p(scores: torch.Tensor, tails: torch.Tensor) -> torch.Tensor:
    ordered, places = scores.sort(dim=-1)
    is_tail = ordered.softmax(dim=-1).cumsum(dim=-1) <= tails
    is_tail[:, -1] = False
    return scores.masked_fill(is_tail.scatter(-1, places, is_tail), -torch.inf)
