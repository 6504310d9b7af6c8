"""Beyond so many waiters there is no place, and every way to leave gives one back."""

import asyncio

import httpx
import pytest
from arq.connections import ArqRedis
from fastapi import FastAPI

from jobs import keys
from jobs.settings import Settings

BODY = {"prompt": "a red circle", "model": "shapes-sd"}
PLACES = 2


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_waiters": PLACES})


async def until_taken(app: FastAPI, count: int) -> None:
    async with asyncio.timeout(10):
        while app.state.parts.waiters._taken != count:
            await asyncio.sleep(0.01)


async def until_submitted(redis: ArqRedis, count: int) -> None:
    async with asyncio.timeout(10):
        while await redis.zcard(keys.index("default")) != count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/jobs/{id}?wait=3", None),
        ("POST", "/v1/jobs?wait=3", BODY),
        ("GET", "/v1/jobs/{id}/events", None),
        ("POST", "/v1/images/generations", BODY),
        ("POST", "/v1/images/generations", {**BODY, "stream": True}),
        ("POST", "/sdapi/v1/txt2img", {"prompt": "a red circle"}),
    ],
)
async def test_who_finds_no_place_is_told_to_come_back_and_has_submitted_nothing(
    http: httpx.AsyncClient, app: FastAPI, redis: ArqRedis, method: str, path: str, body: object
) -> None:
    job = (await http.post("/v1/jobs", json=BODY)).json()
    address = path.format(id=job["id"])
    waiting = [asyncio.create_task(http.request(method, address, json=body)) for _ in range(PLACES)]
    await until_taken(app, PLACES)
    submitted = 1 + PLACES * (method == "POST")
    await until_submitted(redis, submitted)
    refused = await http.request(method, address, json=body)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert await redis.zcard(keys.index("default")) == submitted
    assert (await http.get(f"/v1/jobs/{job['id']}")).status_code == 200, "a poll needs no place"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await until_taken(app, 0)
