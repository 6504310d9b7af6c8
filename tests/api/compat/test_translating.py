"""What AUTOMATIC1111's clients always send, for models of every kind."""

from pathlib import Path

import pytest

from api.admission import admit
from api.compat.automatic1111.model import TextToImage
from api.compat.automatic1111.translating import to_job_request
from pipelines.catalog import Catalog, ModelSpec

#: What chat front ends send, whichever model they are pointed at.
SENT = TextToImage(
    prompt="a cat", negative_prompt="blurred", steps=4, cfg_scale=1, sampler_name="Euler"
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load(Path(__file__).parents[3] / "models.yaml")


def test_every_model_of_the_catalogue_takes_what_clients_send(catalog: Catalog) -> None:
    for name, spec in catalog.items():
        admitted = admit(to_job_request(SENT, {"sd_model_checkpoint": name}, catalog), catalog, {})
        assert admitted.model == name
        assert admitted.guidance_scale <= 1
        assert (admitted.scheduler == "Euler") == ("scheduler" in spec.options)


def test_options_that_a_model_does_not_take_are_left_out() -> None:
    spec = ModelSpec.model_validate({"name": "own", "family": "whole", "source": "an/other"})
    request = to_job_request(SENT, {}, Catalog({"own": spec}))
    assert request.scheduler is None
    assert request.steps == 4
