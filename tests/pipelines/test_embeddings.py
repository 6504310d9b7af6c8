"""The same text is encoded once, and what is kept has a bound."""

import torch

from pipelines.embeddings import Embedding, EmbeddingCache


def test_the_same_prompt_is_encoded_once(load_fresh, make_request, monkeypatch):
    pipeline = load_fresh("sd")
    encoded = []
    encode = pipeline.components.encode_prompt
    monkeypatch.setattr(
        pipeline.components,
        "encode_prompt",
        lambda text, *rest: encoded.append(text) or encode(text, *rest),
    )
    for seed in range(3):
        pipeline.encode(make_request(seed=seed, negative_prompt="blurred"))
    pipeline.encode(make_request(prompt="blurred"))
    assert encoded == ["a red circle", "blurred", ""]


def test_the_least_recently_used_text_is_dropped_at_the_limit():
    cache, encoded = EmbeddingCache(limit_bytes=2 * 400), []

    def encode(text):
        encoded.append(text)
        return Embedding({"words": torch.zeros(1, 100)})

    for text in ["a", "b", "a", "c", "a", "b"]:
        cache.get(text, encode)
    assert encoded == ["a", "b", "c", "b"]
