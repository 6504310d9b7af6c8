"""What Prometheus scrapes of the API, and what scalers ask for."""

import asyncio

import httpx
import pytest
from arq.connections import ArqRedis
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from jobs import metrics
from jobs.pace import UNKNOWN_WAIT_S
from jobs.settings import Settings
from local.ports import free_port

PROMPT = {"prompt": "a red circle"}


def scraped(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of a scrape, by name and labels, read by Prometheus' own parser."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(client: TestClient, name: str, **labels: str) -> float | None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == metrics.MEDIA_TYPE
    return scraped(answer.text).get((name, frozenset(labels.items())))


def test_the_queue_is_told_of_by_model_and_lane(client: TestClient) -> None:
    for lane in ("interactive", "batch", "batch"):
        assert client.post("/v1/jobs", json={**PROMPT, "lane": lane}).status_code == 202
    model = {"model": "shapes-sd"}
    assert sample(client, "darkroom_queue_jobs", lane="batch", **model) == 2
    assert (
        sample(client, "darkroom_queue_work_seconds", lane="batch", **model) == 2 * UNKNOWN_WAIT_S
    )
    assert sample(client, "darkroom_unfinished_work_seconds", **model) == 3 * UNKNOWN_WAIT_S
    assert sample(client, "darkroom_workers", **model) == 0
    assert sample(client, "darkroom_redis_up") == 1
    age_s = sample(client, "darkroom_queue_oldest_age_seconds", lane="interactive", **model)
    assert age_s is not None
    assert 0 <= age_s < 60


def test_a_scaler_finds_the_work_of_a_model_without_workers(client: TestClient) -> None:
    client.post("/v1/jobs", json=PROMPT)
    (queue,) = client.get("/v1/queues").json()["queues"]
    assert queue == {
        "model": "shapes-sd",
        "workers": 0,
        "jobs": 1,
        "running": 0,
        "work_s": UNKNOWN_WAIT_S,
        "lanes": {
            "interactive": {
                "jobs": 1,
                "oldest_age_s": queue["lanes"]["interactive"]["oldest_age_s"],
                "work_s": UNKNOWN_WAIT_S,
            },
            "batch": {"jobs": 0, "oldest_age_s": 0, "work_s": 0},
        },
    }


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/v1/jobs/0123", "/v1/jobs/{job_id}", "404"),
        ("POST", "/v1/jobs", "/v1/jobs", "422"),
        ("GET", "/v1/models", "/v1/models", "200"),
        ("GET", "/nothing/of/ours", "other", "404"),
        ("GET", "/page/page.js", "other", "200"),
        ("BREW", "/v1/jobs", "/v1/jobs", "405"),
    ],
)
def test_requests_are_counted_by_route_and_never_by_path(
    client: TestClient, method: str, path: str, route: str, status: str
) -> None:
    labels = {
        "method": method if method in ("GET", "POST") else "other",
        "route": route,
        "status": status,
    }
    name = "darkroom_http_request_duration_seconds_count"
    before = sample(client, name, **labels) or 0
    client.request(method, path, json={} if method == "POST" else None)
    assert sample(client, name, **labels) == before + 1


async def test_who_is_held_is_counted_and_does_not_look_slow(
    http: httpx.AsyncClient, redis: ArqRedis
) -> None:
    waiters = ("darkroom_http_waiters", frozenset[tuple[str, str]]())
    streams = ("darkroom_http_streams", frozenset[tuple[str, str]]())
    job = (await http.post("/v1/jobs", json=PROMPT)).json()
    labels = frozenset({("method", "GET"), ("route", "/v1/jobs/{job_id}"), ("status", "200")})
    waiting = asyncio.create_task(http.get(f"/v1/jobs/{job['id']}?wait=1"))
    stream = asyncio.create_task(http.get(f"/v1/jobs/{job['id']}/events"))
    async with asyncio.timeout(10):
        while True:
            now = scraped((await http.get("/metrics")).text)
            if now[waiters] == now[streams] == 1:
                break
            await asyncio.sleep(0.01)
    name = "darkroom_http_request_duration_seconds_sum"
    before_s = now.get((name, labels), 0.0)
    assert (await waiting).elapsed.total_seconds() >= 1
    await http.post(f"/v1/jobs/{job['id']}/cancel")
    await stream
    after = scraped((await http.get("/metrics")).text)
    assert after[name, labels] - before_s < 0.5
    assert after[waiters] == after[streams] == 0


def test_without_redis_a_scrape_says_so_and_nothing_of_the_queue(settings: Settings) -> None:
    away = settings.model_copy(
        update={"redis_url": type(settings.redis_url)(f"redis://127.0.0.1:{free_port()}/0")}
    )
    with TestClient(create_app(away)) as client:
        assert sample(client, "darkroom_redis_up") == 0
        assert "darkroom_queue_jobs{" not in client.get("/metrics").text
