"""Tokens are drawn as transformers draws them, though many at once and each by its own rules."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from pipelines.sampling import Sampling, draw_noise, draw_tokens, guide

TOKENS = 40

rules = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 1.7]),
    top_k=st.sampled_from([0, 1, 7, 100]),
    top_p=st.sampled_from([0.1, 0.9, 1.0]),
)


def drawn_plainly(scores: torch.Tensor, rule: Sampling, seed: int) -> int:
    """One draw of one image, with transformers' own processors in the order of its `generate`."""
    if rule.is_greedy:
        return int(scores.argmax())
    warpers = LogitsProcessorList()
    if rule.temperature != 1:
        warpers.append(TemperatureLogitsWarper(rule.temperature))
    if rule.top_k:
        warpers.append(TopKLogitsWarper(rule.top_k))
    if rule.top_p < 1:
        warpers.append(TopPLogitsWarper(rule.top_p))
    probabilities = warpers(None, scores.unsqueeze(0)).softmax(dim=-1)
    generator = torch.Generator().manual_seed(seed)
    return int(torch.multinomial(probabilities, 1, generator=generator))


@settings(deadline=None)
@given(st.lists(st.tuples(rules, st.integers(0, 2**40)), min_size=1, max_size=6))
def test_each_image_draws_as_it_would_alone_in_transformers(images):
    seeds = [seed for _, seed in images]
    scores = torch.stack(
        [torch.randn(TOKENS, generator=torch.Generator().manual_seed(seed)) * 3 for seed in seeds]
    )
    noise = torch.stack([draw_noise(torch.Generator().manual_seed(seed), TOKENS) for seed in seeds])
    ours = draw_tokens(scores, [rule for rule, _ in images], noise).tolist()
    assert ours == [
        drawn_plainly(row, rule, seed) for row, (rule, seed) in zip(scores, images, strict=True)
    ]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_their_scores_say(temperature):
    scores, draws = torch.tensor([2.0, 1.0, 0.0, -1.0]), 20_000
    noise = draw_noise(torch.Generator().manual_seed(0), 4 * draws).view(draws, 4)
    drawn = draw_tokens(scores.expand(draws, 4), [Sampling(temperature=temperature)] * draws, noise)
    shares = drawn.bincount(minlength=4) / draws
    assert shares.sub((scores / temperature).softmax(0)).abs().max() < 0.02


def test_each_image_is_guided_by_its_own_scale():
    with_prompt, without = torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([[0.0, 3.0]] * 2)
    guided = guide(with_prompt, without, torch.tensor([2.0, 5.0]))
    assert guided.tolist() == [[2.0, 1.0], [5.0, -2.0]]
