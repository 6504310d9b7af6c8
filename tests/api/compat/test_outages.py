"""Who waits for pictures outlasts an absence of Redis, and hears of it when S3 is away."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from gate import Gate
from pydantic import SecretStr

from api.app import create_app
from jobs.settings import Settings

BODY = {"prompt": "a red circle on a blue background"}
PATHS = ("/v1/images/generations", "/sdapi/v1/txt2img")


@pytest.fixture
async def gate(settings: Settings) -> AsyncIterator[Gate]:
    """The API's way to Redis."""
    port = settings.redis_url.get_secret_value().rpartition("/")[0].rpartition(":")[2]
    gate = Gate(int(port))
    await gate.open()
    yield gate
    await gate.close()


@pytest.fixture
def app(settings: Settings, gate: Gate) -> FastAPI:
    address = settings.redis_url.get_secret_value().rpartition("/")[0].rpartition(":")[0]
    changes = {"redis_url": SecretStr(f"{address}:{gate.port}/0"), "redis_timeout_s": 1.0}
    return create_app(settings.model_copy(update=changes))


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_waits_outlasts_an_absence_of_redis(
    http: httpx.AsyncClient, hand: Any, gate: Gate, path: str
) -> None:
    waiting = asyncio.create_task(http.post(path, json=BODY))
    job, lease = await hand.take()
    await gate.close()
    await hand.succeed(job, lease)
    assert not waiting.done()
    await gate.open()
    async with asyncio.timeout(20):
        assert (await waiting).status_code == 200


@pytest.mark.parametrize("path", PATHS)
async def test_a_picture_that_cannot_be_read_is_a_503(
    http: httpx.AsyncClient, hand: Any, path: str
) -> None:
    waiting = asyncio.create_task(http.post(path, json=BODY))
    job, lease = await hand.take()
    await hand.succeed(job, lease, is_stored=False)
    answer = await waiting
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
