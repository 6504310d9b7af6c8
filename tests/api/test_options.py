"""Each model takes its own options: the others are refused by name, and all are listed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from jobs.model import JobRequest
from jobs.settings import Settings
from pipelines.catalog import ALL_OPTIONS, Catalog

PROMPT = "a red circle on a blue background"
DIFFUSION, TOKENS = "shapes-sd", "shapes-janus"
MODEL = Catalog.load(Path(__file__).parent.parent.parent / "models.yaml")[TOKENS]


@pytest.fixture
def client(settings: Settings, redis: object) -> Iterator[TestClient]:
    """The application with both models that ship."""
    offered = settings.model_copy(update={"models": (DIFFUSION, TOKENS)})
    with TestClient(create_app(offered)) as client:
        yield client


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        (TOKENS, "steps", 20),
        (TOKENS, "scheduler", "Euler"),
        (TOKENS, "negative_prompt", "blurred"),
        (DIFFUSION, "temperature", 0.7),
        (DIFFUSION, "top_p", 0.9),
        (DIFFUSION, "top_k", 0),
    ],
)
def test_an_option_that_a_model_does_not_take_is_refused(
    client: TestClient, model: str, field: str, value: Any
) -> None:
    answer = client.post("/v1/jobs", json={"prompt": PROMPT, "model": model, field: value})
    listed = {each["name"]: each for each in client.get("/v1/models").json()["models"]}
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")
    (fault,) = answer.json()["errors"]
    assert fault["field"] == field
    assert (
        f"{model} is of family {listed[model]['family']}, which takes no {field}" in fault["detail"]
    )
    assert fault["limit"] == listed[model]["options"]


@pytest.mark.parametrize("empty", [{"negative_prompt": ""}, {"steps": None, "scheduler": None}])
def test_an_option_left_empty_asks_for_nothing(client: TestClient, empty: dict[str, Any]) -> None:
    answer = client.post("/v1/jobs", json={"prompt": PROMPT, "model": TOKENS, **empty})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("temperature", -0.1, 0),
        ("temperature", 2.5, 2.0),
        ("top_p", 0, 0),
        ("top_p", 1.1, 1),
        ("top_k", -1, 0),
        ("width", 128, [64, 64]),
    ],
)
def test_what_a_token_model_takes_has_limits(
    client: TestClient, field: str, value: float, limit: object
) -> None:
    answer = client.post("/v1/jobs", json={"prompt": PROMPT, "model": TOKENS, field: value})
    (fault,) = answer.json()["errors"]
    assert (answer.status_code, fault["field"], fault["limit"]) == (422, field, limit)


def test_a_job_records_what_its_image_is_drawn_with(client: TestClient) -> None:
    body = {"prompt": PROMPT, "model": TOKENS, "temperature": 0.5}
    job = client.post("/v1/jobs", json=body).json()
    other = client.post("/v1/jobs", json={"prompt": PROMPT}).json()
    drawn = {name: job["request"][name] for name in ("temperature", "top_p", "top_k", "scheduler")}
    assert drawn == {
        "temperature": 0.5,
        "top_p": MODEL.top_p.default,
        "top_k": MODEL.top_k.default,
        "scheduler": None,
    }
    assert job["request"]["steps"] == 64
    assert job["progress"] == {"step": 0, "steps": 64, "images_per_s": None}
    assert {other["request"][name] for name in ("temperature", "top_p", "top_k")} == {None}


def test_every_model_lists_its_options_with_their_limits(client: TestClient) -> None:
    models = {each["name"]: each for each in client.get("/v1/models").json()["models"]}
    assert models[TOKENS]["options"] == ["guidance_scale", "temperature", "top_p", "top_k"]
    for option in ("temperature", "top_p", "top_k"):
        assert models[TOKENS][option] == getattr(MODEL, option).model_dump()
    assert models[TOKENS]["schedulers"] == []
    assert models[DIFFUSION]["options"] == [
        "negative_prompt",
        "steps",
        "guidance_scale",
        "scheduler",
    ]
    assert models[DIFFUSION]["temperature"] is None


def test_every_option_is_a_field_of_a_request() -> None:
    assert set(ALL_OPTIONS) < set(JobRequest.model_fields)
