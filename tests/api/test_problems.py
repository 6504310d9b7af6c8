"""Every refusal is a problem that its reader can act on."""

import logging

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from api.app import create_app
from api.problems import KINDS
from jobs.settings import Settings


@pytest.mark.parametrize("kind", KINDS)
def test_a_problem_s_type_is_an_address_that_explains_it(client: TestClient, kind: str) -> None:
    answer = client.get(f"/problems/{kind}")
    assert answer.status_code == 200
    assert answer.json()["remedy"] == KINDS[kind].remedy


def test_an_unknown_address_and_an_unknown_method_are_problems(client: TestClient) -> None:
    nowhere, wrong = client.get("/v1/nowhere"), client.put("/v1/jobs")
    assert (nowhere.status_code, nowhere.json()["type"]) == (404, "/problems/not-found")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "/problems/method-not-allowed")
    assert wrong.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "away",
    [
        {"redis_url": SecretStr("redis://:hush@127.0.0.1:1/0")},
        {"s3_endpoint": "http://127.0.0.1:1"},
    ],
)
def test_a_store_that_is_away_is_a_503_with_retry_after_and_no_secret(
    settings: Settings, away: dict[str, object]
) -> None:
    with TestClient(create_app(settings.model_copy(update=away))) as client:
        answer = client.get("/readyz")
        assert client.get("/healthz").status_code == 200
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "hush" not in answer.text


def test_a_defect_of_ours_is_a_500_without_a_traceback_and_a_log_with_one(
    app: FastAPI, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/defect")
    async def defect() -> None:
        raise RuntimeError("the cause")

    with caplog.at_level(logging.ERROR):
        answer = client.get("/defect")
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal-error")
    assert "the cause" not in answer.text
    assert "the cause" in caplog.text
