"""What clients hear while Redis is away, hangs, or is full."""

import asyncio
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from arq.connections import ArqRedis
from fastapi.testclient import TestClient
from gate import Gate
from key_holders import holder
from pydantic import SecretStr

from api.app import create_app
from jobs.access import keyring
from jobs.access.model import Scope
from jobs.settings import Settings

BODY = {"prompt": "a red circle"}
TIMEOUT_S = 1.0


@pytest.fixture
def behind_gate(settings: Settings) -> Iterator[tuple[TestClient, Gate]]:
    """A client of an API whose way to Redis starts out closed."""
    address, _, port = settings.redis_url.get_secret_value().rpartition("/")[0].rpartition(":")
    gate = Gate(int(port))
    changes = {
        "redis_url": SecretStr(f"{address}:{gate.port}/0"),
        "redis_timeout_s": TIMEOUT_S,
    }
    app = create_app(settings.model_copy(update=changes))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, gate


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/" + "0" * 32])
def test_without_redis_the_answer_is_a_503_that_says_when_to_come_back(
    behind_gate: tuple[TestClient, Gate], path: str
) -> None:
    client, _ = behind_gate
    begun = time.monotonic()
    answer = client.post(path, json=BODY) if path == "/v1/jobs" else client.get(path)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["type"] == "/problems/unavailable"
    assert time.monotonic() - begun < 10 * TIMEOUT_S, "the wait has a bound"


def test_a_redis_that_hangs_is_given_up_in_time(behind_gate: tuple[TestClient, Gate]) -> None:
    client, gate = behind_gate
    begun = time.monotonic()
    # The kernel accepts the connection, and nobody ever answers: so does a stopped process.
    with socket.create_server(("127.0.0.1", gate.port)):
        answer = client.post("/v1/jobs", json=BODY)
    assert answer.status_code == 503
    assert time.monotonic() - begun < 10 * TIMEOUT_S, "the wait has a bound"


async def test_operators_can_read_with_their_key_that_redis_is_away(
    settings: Settings, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "FRESH_S", 0.0)
    operator = await holder(redis, scopes={Scope.METRICS_READ, Scope.JOBS_READ})
    address, _, port = settings.redis_url.get_secret_value().rpartition("/")[0].rpartition(":")
    gate = Gate(int(port))
    changes = {"allow_anonymous": False, "redis_url": SecretStr(f"{address}:{gate.port}/0")}
    await gate.open()
    with TestClient(create_app(settings.model_copy(update=changes))) as client:

        def get(path: str) -> httpx.Response:
            return client.get(path, headers=operator.headers)

        assert (await asyncio.to_thread(get, "/v1/jobs")).status_code == 200
        await gate.close()
        assert (await asyncio.to_thread(get, "/v1/jobs")).status_code == 503
        shown = await asyncio.to_thread(get, "/metrics")
    assert "darkroom_redis_up 0.0" in shown.text


async def test_a_redis_without_memory_refuses_jobs_and_still_shows_them(
    settings: Settings, redis: ArqRedis
) -> None:
    with TestClient(create_app(settings)) as client:
        there = await asyncio.to_thread(client.post, "/v1/jobs", json=BODY)
        await redis.config_set("maxmemory", "1")
        try:
            refused = await asyncio.to_thread(client.post, "/v1/jobs", json=BODY)
            shown = await asyncio.to_thread(client.get, there.headers["location"])
        finally:
            await redis.config_set("maxmemory", "0")
        again = await asyncio.to_thread(client.post, "/v1/jobs", json=BODY)
    assert refused.status_code == 503
    assert "Redis cannot write" in refused.json()["detail"]
    assert shown.status_code == 200
    assert again.status_code == 202


async def test_a_full_queue_is_a_429_with_limit_and_wait(
    settings: Settings, redis: ArqRedis
) -> None:
    chosen = settings.model_copy(update={"queue_max_jobs": 1})
    with TestClient(create_app(chosen)) as client:
        first = await asyncio.to_thread(client.post, "/v1/jobs", json=BODY)
        refused = await asyncio.to_thread(client.post, "/v1/jobs", json=BODY)
    assert (first.status_code, refused.status_code) == (202, 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["errors"][0]["limit"] == 1
