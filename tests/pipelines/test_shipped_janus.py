"""The Janus that ships: alone and in company, its tokens are those of transformers."""

from pathlib import Path

import pytest
import torch
from plain_janus import PlainJanus

from pipelines.catalog import Catalog
from pipelines.engine import Engine
from pipelines.loading import load_pipeline
from pipelines.pipeline import ImageRequest

CPU = torch.device("cpu")
CATALOGUE = Catalog.load(Path(__file__).parent.parent.parent / "models.yaml")
SPEC = CATALOGUE["shapes-janus"]


def ask(**changes):
    width, height = SPEC.size.default
    plain = {"width": width, "height": height, "steps": SPEC.steps.default}
    rules = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "guidance_scale": 3.0}
    words = {"prompt": "a red circle on a white background", "seed": 1}
    return ImageRequest(**{**words, **plain, **rules, **changes})


@pytest.fixture(scope="module")
def plain():
    return PlainJanus(SPEC)


MIX = [
    ask(temperature=0.0),
    ask(seed=2, prompt="a green triangle on a white background", temperature=0.8, top_k=50),
    ask(seed=3, prompt="a small yellow star in the top left corner on black", top_p=0.9),
    ask(seed=4, guidance_scale=1.0),
    ask(seed=5, prompt="a red circle left of a blue square on a white background"),
]


def test_the_entry_s_defaults_are_those_that_the_model_was_saved_with(plain):
    saved = plain.model.generation_config
    for option in SPEC.options:
        assert getattr(SPEC, option).default == getattr(saved, option), option


def test_tokens_are_those_of_transformers_alone_and_in_company(plain):
    pipeline, tokens = load_pipeline(SPEC, CPU), {}
    decode = pipeline.decode

    def noted(states):
        for state in states:
            tokens.setdefault(state.request, []).append(state.tokens.tolist())
        return decode(states)

    pipeline.decode = noted
    with Engine(CPU, load=lambda *_: pipeline) as engine:
        for request in MIX:
            engine.submit(SPEC, request).future.result(120)
        for handle in [engine.submit(SPEC, request) for request in MIX]:
            handle.future.result(120)
    for request in MIX:
        assert tokens[request] == [plain.tokens(request)] * 2
