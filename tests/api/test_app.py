"""The application as a whole."""

import json
import re
import subprocess
import sys

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from jobs.settings import Settings
from pipelines.errors import CatalogError


def test_importing_the_application_imports_no_torch() -> None:
    program = (
        "import sys, api.app\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_docs_bring_everything_along(client: TestClient) -> None:
    for page in ("/docs", "/redoc"):
        assert "cdn" not in client.get(page).text
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


def test_every_operation_is_described_with_its_problems(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    submit = description["paths"]["/v1/jobs"]["post"]
    assert {"200", "202", "400", "401", "403", "404", "413", "422", "429", "503"} == set(
        submit["responses"]
    )
    assert description["components"]["schemas"]["JobRequest"]["examples"]
    for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(description)):
        assert reference in description["components"]["schemas"]
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)


def test_models_are_listed_with_their_limits_and_workers(client: TestClient) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert model["name"] == "shapes-sd"
    assert model["workers"] == 0
    assert model["size"] == {
        "default": [64, 64],
        "min": 64,
        "max": 128,
        "multiple_of": 8,
        "max_pixels": 16384,
    }
    assert "source" not in model, "where a model lies is nobody's business"


def test_ready_means_redis_and_the_bucket_answer(client: TestClient) -> None:
    assert client.get("/readyz").json() == {"status": "ok"}


def test_a_model_that_is_not_in_the_catalogue_is_refused_at_the_start(settings: Settings) -> None:
    with pytest.raises(CatalogError, match="no model 'dall-e' in the catalogue"):
        create_app(settings.model_copy(update={"models": ("dall-e",)}))


def test_the_page_is_served_and_fetches_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    for address in re.findall(r'(?:href|src)="([^"]+)"', answer.text):
        assert address.startswith("/"), address
        assert client.get(address).status_code == 200
