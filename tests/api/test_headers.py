"""What browsers are told, and whom they may call us for."""

import re

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from api.app import create_app
from jobs.settings import Settings

ELSEWHERE = "https://elsewhere.example"


def preflight(client: TestClient, origin: str) -> httpx.Headers:
    """What a browser asks before a script's request with a key (Fetch standard, 4.8)."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    return httpx.Headers(client.options("/v1/jobs", headers=asked).headers)


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/v1/jobs/none", "/nowhere", "/docs", "/page/page.js", "/healthz"]
)
def test_every_answer_forbids_frames_guessing_and_referrers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_the_page_runs_no_script_within_it(client: TestClient) -> None:
    page = client.get("/")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]* src=)|<[^>]+ (on\w+|style)=", page.text)


def test_no_origin_is_let_in_by_default(client: TestClient) -> None:
    assert not [name for name in preflight(client, ELSEWHERE) if name.startswith("access-control")]
    answer = client.get("/v1/models", headers={"Origin": ELSEWHERE})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_only_the_origins_that_are_allowed_are_let_in(settings: Settings, redis: object) -> None:
    allowed = settings.model_copy(update={"cors_origins": (ELSEWHERE,)})
    with TestClient(create_app(allowed)) as client:
        assert preflight(client, ELSEWHERE)["access-control-allow-origin"] == ELSEWHERE
        assert "access-control-allow-origin" not in preflight(client, "https://evil.example")
        answer = client.get("/v1/models", headers={"Origin": ELSEWHERE})
        assert answer.headers["access-control-allow-origin"] == ELSEWHERE
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("wrong", ["app.example.com", "https://app.example.com/", "null"])
def test_what_is_no_origin_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        Settings.model_validate({"cors_origins": wrong})


def test_a_form_of_another_site_submits_nothing(client: TestClient) -> None:
    """A browser sends these without asking first; only JSON has to ask."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = client.post(
            "/v1/jobs", content='{"prompt": "a circle"}', headers={"content-type": kind}
        )
        assert answer.status_code == 422, kind
    assert client.get("/v1/jobs").json()["jobs"] == []
