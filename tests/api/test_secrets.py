"""A key goes through every route and every kind of failure, and is found nowhere afterwards."""

import base64
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from arq.connections import ArqRedis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from key_holders import Holder, holder
from pydantic import SecretStr

from api.app import create_app
from jobs.access.keyring import Keyring
from jobs.exchange import Exchange
from jobs.settings import Settings
from jobs.store import new_job_id

SIGNING = "whsec_" + "Y2FuYXJ5IG9mIDMyIGJ5dGVzLCBzaW5naW5nIGFsb25l"
BODY = {"prompt": "a red circle"}
#: What a client can do wrong: method, address and what goes with it.
WRONGS: list[tuple[str, str, dict[str, Any]]] = [
    ("get", "/v1/nowhere", {}),
    ("put", "/v1/jobs", {}),
    ("get", "/v1/jobs/nonsense", {}),
    ("get", "/v1/jobs?limit=many", {}),
    ("post", "/v1/jobs", {"content": b"{"}),
    ("post", "/v1/jobs", {"content": b"x" * 2**21}),
    ("post", "/v1/jobs", {"json": {**BODY, "steps": 10**6}}),
    ("post", "/v1/jobs", {"json": {**BODY, "webhook": {"url": "http://10.0.0.1/"}}}),
    ("post", "/v1/batches", {"json": {"jobs": [BODY] * 9}}),
    ("post", "/v1/images/generations", {"json": {"prompt": ""}}),
    ("post", "/sdapi/v1/txt2img", {"json": {"prompt": ""}}),
    ("get", "/metrics", {}),
]


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    app = create_app(settings.model_copy(update={"allow_anonymous": False}))

    @app.get("/defect")
    async def defect() -> None:
        raise RuntimeError("a defect of ours")

    return app


@pytest.fixture
def client(app: FastAPI, redis: object, caplog: pytest.LogCaptureFixture) -> Iterator[TestClient]:
    # Whatever a library would tell at its most talkative.
    with caplog.at_level(logging.DEBUG), TestClient(app, raise_server_exceptions=False) as client:
        yield client


def calls(app: FastAPI, client: TestClient, headers: dict[str, str]) -> Iterator[str]:
    """Every operation there is, every wrong call, and a defect: what each answers."""
    for path, operations in app.openapi()["paths"].items():
        place = path.format(job_id=new_job_id(), batch_id=new_job_id(), kind="not-found")
        for method in operations:
            if path not in ("/v1/images/generations", "/sdapi/v1/txt2img"):
                answer = client.request(method, place, headers=headers)
                yield f"{answer.headers} {answer.text}"
    for method, place, what in (*WRONGS, ("get", "/defect", {})):
        answer = client.request(method, place, headers=headers, **what)
        yield f"{answer.headers} {answer.text}"


async def contents(redis: ArqRedis) -> AsyncIterator[str]:
    """All that Redis holds."""
    reading = {
        "string": ("GET",),
        "hash": ("HGETALL",),
        "set": ("SMEMBERS",),
        "zset": ("ZRANGE", 0, -1),
        "stream": ("XRANGE", "-", "+"),
    }
    for name in await redis.keys("*"):
        command, *rest = reading[(await redis.type(name)).decode()]
        yield f"{name!r} {await redis.execute_command(command, name, *rest)}"  # type: ignore[no-untyped-call]


async def test_no_key_is_told_kept_or_logged_whatever_happens(
    app: FastAPI, client: TestClient, redis: ArqRedis, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {"jobs_per_minute": 3}
    valid = await holder(redis, limits=limits, webhook_secret=SIGNING)
    revoked = await holder(redis)
    await Keyring(Exchange(redis)).revoke(revoked.key.id)
    job = client.post("/v1/jobs", json=BODY, headers=valid.headers).json()
    told = [str(job)]
    for who in (valid, revoked):
        basic = base64.b64encode(f"user:{who.text}".encode()).decode()
        for sent in (f"Bearer {who.text}", f"Basic {basic}", f"bearer {who.text} and more"):
            told += calls(app, client, {"Authorization": sent})
    assert "a defect of ours" in caplog.text, "the log would have shown it"
    for who in (valid, revoked):
        hidden = secrets_of(who)
        kept = [text async for text in contents(redis)]
        for text in (*told, caplog.text, *kept):
            assert not any(secret in text for secret in hidden), text[:300]
    elsewhere = [*told, caplog.text, *(text for text in kept if "api-keys" not in text)]
    assert not any(SIGNING in text for text in elsewhere)


def secrets_of(who: Holder) -> tuple[str, str]:
    """The secret half of a key, as it is and as Basic authentication wraps it."""
    wrapped = base64.b64encode(f"user:{who.text}".encode()).decode()
    return who.text.split("_", 2)[2], wrapped


async def test_while_redis_is_away_no_key_is_logged(
    settings: Settings, redis: ArqRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    ann = await holder(redis)
    away = {
        "allow_anonymous": False,
        "log_level": "DEBUG",
        "redis_url": SecretStr("redis://:hush@127.0.0.1:1/0"),
    }
    with TestClient(create_app(settings.model_copy(update=away))) as client:
        answer = client.post("/v1/jobs", json=BODY, headers=ann.headers)
    assert answer.status_code == 503
    logged = capsys.readouterr().err
    assert "Redis does not answer" in logged
    for secret in (*secrets_of(ann), "hush"):
        assert secret not in logged + answer.text
