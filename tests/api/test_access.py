"""Who may ask, and how a refusal is told."""

import base64
import time
from collections.abc import Iterator

import pytest
from arq.connections import ArqRedis
from fastapi.testclient import TestClient
from key_holders import holder
from pydantic import SecretStr

from api.access import OPEN, credentials, is_open
from api.app import create_app
from jobs.access.keyring import FRESH_S, Keyring
from jobs.access.model import Scope
from jobs.access.secret import KeySecret
from jobs.exchange import Exchange
from jobs.settings import Settings

BODY = {"prompt": "a red circle"}
#: As a key looks.
UNKNOWN = f"dk_{'0' * 12}_{'x' * 43}"


@pytest.fixture
def locked(settings: Settings) -> Settings:
    """Settings under which everybody needs a key."""
    return settings.model_copy(update={"allow_anonymous": False})


@pytest.fixture
def client(locked: Settings, redis: object) -> Iterator[TestClient]:
    with TestClient(create_app(locked), raise_server_exceptions=False) as client:
        yield client


def local_client(settings: Settings, host: str = "127.0.0.1:8420") -> TestClient:
    """A client of an API that is told nothing about keys."""
    app = create_app(settings.model_copy(update={"allow_anonymous": None}))
    return TestClient(app, base_url=f"http://{host}")


async def test_a_key_opens_what_is_closed_without_one(client: TestClient, redis: ArqRedis) -> None:
    ann = await holder(redis)
    without, with_key = client.get("/v1/jobs"), client.get("/v1/jobs", headers=ann.headers)
    assert (without.status_code, without.json()["type"]) == (401, "/problems/unauthenticated")
    assert without.headers["www-authenticate"] == 'Bearer realm="darkroom"'
    assert without.headers["content-type"] == "application/problem+json"
    assert with_key.status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        "Bearer ",
        "Bearer nonsense",
        f"Bearer {UNKNOWN}",
        f"Bearer {UNKNOWN}x",
        f"bearer   {UNKNOWN}",
        f"Token {UNKNOWN}",
        "Basic !!!",
        "Basic " + base64.b64encode(b"ann").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        UNKNOWN,
    ],
)
def test_what_is_no_key_opens_nothing(client: TestClient, given: str) -> None:
    answer = client.get("/v1/jobs", headers={"Authorization": given})
    assert answer.status_code == 401
    assert client.post("/v1/jobs", json=BODY, headers={"Authorization": given}).status_code == 401


async def test_a_right_id_with_a_wrong_secret_opens_nothing(
    client: TestClient, redis: ArqRedis
) -> None:
    ann, bob = await holder(redis, "ann"), await holder(redis, "bob")
    mixed = f"dk_{ann.key.id}_{bob.text.rpartition('_')[2]}"
    answer = client.get("/v1/jobs", headers={"Authorization": f"Bearer {mixed}"})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_revoked_key_opens_nothing_within_a_second(
    client: TestClient, redis: ArqRedis
) -> None:
    ann = await holder(redis)
    assert client.get("/v1/jobs", headers=ann.headers).status_code == 200
    await Keyring(Exchange(redis)).revoke(ann.key.id)
    begun = time.monotonic()
    while client.get("/v1/jobs", headers=ann.headers).status_code == 200:
        assert time.monotonic() - begun < FRESH_S + 0.2
    assert client.get("/v1/jobs", headers=ann.headers).status_code == 401


async def test_a_key_does_what_its_scopes_say_and_no_more(
    client: TestClient, redis: ArqRedis
) -> None:
    reader = await holder(redis, scopes=frozenset({Scope.JOBS_READ}))
    writer = await holder(redis, scopes=frozenset({Scope.JOBS_WRITE}))
    refused = client.post("/v1/jobs", json=BODY, headers=reader.headers)
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden")
    assert 'error="insufficient_scope", scope="jobs:write"' in refused.headers["www-authenticate"]
    accepted = client.post("/v1/jobs", json=BODY, headers=writer.headers)
    assert accepted.status_code == 202
    place = accepted.headers["location"]
    assert client.get(place, headers=reader.headers).status_code == 200
    assert client.get(place, headers=writer.headers).status_code == 403
    assert client.get("/metrics", headers=reader.headers).status_code == 403


def test_what_tells_of_nobody_is_open(client: TestClient) -> None:
    for path in (*OPEN, "/page/page.js", "/problems/forbidden"):
        assert client.get(path).status_code == 200, path


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/metrics", "/page", "/docs/oauth2-redirect", "//v1/jobs", "/healthz/", ""]
)
def test_nothing_else_is_open_even_if_it_is_not_there(path: str) -> None:
    assert not is_open(path)


async def test_openai_s_clients_are_refused_in_their_form(
    client: TestClient, redis: ArqRedis
) -> None:
    path, reader = "/v1/images/generations", await holder(redis, scopes={Scope.JOBS_READ})
    unknown, unable = client.post(path, json=BODY), client.post(path, headers=reader.headers)
    assert (unknown.status_code, unable.status_code) == (401, 403)
    assert unknown.json()["error"]["code"] == "invalid_api_key"
    assert unable.json()["error"]["code"] == "insufficient_permissions"


async def test_automatic1111_s_clients_send_the_key_as_their_password(
    client: TestClient, redis: ArqRedis
) -> None:
    ann = await holder(redis)
    refused = client.get("/sdapi/v1/sd-models")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].endswith('Basic realm="darkroom"')
    assert refused.json()["error"] == "unauthenticated"
    assert client.get("/sdapi/v1/sd-models", auth=("anything", ann.text)).status_code == 200


def test_credentials_are_found_in_either_form() -> None:
    basic = "Basic " + base64.b64encode(b"user:pass:word").decode()
    assert credentials("BEARER token") == "token"
    assert credentials(basic) == "pass:word"
    assert credentials("") == ""


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost", "[::1]:8420", "127.1.2.3"])
def test_on_loopback_nobody_needs_a_key(settings: Settings, redis: object, host: str) -> None:
    with local_client(settings, host) as client:
        assert client.get("/v1/jobs").status_code == 200
        # Clients that must have some key are given any.
        for scheme in ("Bearer none", "Basic " + base64.b64encode(b"a:b").decode()):
            answer = client.get("/v1/jobs", headers={"Authorization": scheme})
            assert answer.status_code == 200


async def test_on_loopback_a_key_still_says_who_asks(settings: Settings, redis: ArqRedis) -> None:
    ann = await holder(redis)
    with local_client(settings) as client:
        job = client.post("/v1/jobs", json=BODY, headers=ann.headers).headers["location"]
        assert client.get(job, headers=ann.headers).status_code == 200
        assert client.get(job).status_code == 404
        revoked = {"Authorization": f"Bearer {KeySecret.new().text}"}
        assert client.get("/v1/jobs", headers=revoked).status_code == 401


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"])
def test_what_a_proxy_on_this_machine_hands_on_needs_a_key(
    settings: Settings, redis: object, header: str
) -> None:
    with local_client(settings) as client:
        assert client.get("/v1/jobs", headers={header: "192.0.2.1"}).status_code == 401


@pytest.mark.parametrize("host", ["darkroom.example", "evil.example:8420", "127.0.0.1.nip.io"])
def test_a_web_page_that_leads_its_name_here_needs_a_key(
    settings: Settings, redis: object, host: str
) -> None:
    with local_client(settings, host) as client:
        assert client.get("/v1/jobs").status_code == 401


def test_on_another_address_keys_are_needed_unless_a_setting_says_otherwise(
    settings: Settings, redis: object
) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7", "darkroom.example"):
        with local_client(settings.model_copy(update={"host": host})) as client:
            assert client.get("/v1/jobs").status_code == 401
    opened = settings.model_copy(update={"host": "0.0.0.0", "allow_anonymous": True})
    with TestClient(create_app(opened)) as client:
        assert client.get("/v1/jobs").status_code == 200


def test_without_redis_nobody_is_let_in(locked: Settings) -> None:
    away = locked.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with TestClient(create_app(away)) as client:
        answer = client.get("/v1/jobs", headers={"Authorization": f"Bearer {KeySecret.new().text}"})
        assert client.get("/healthz").status_code == 200
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
    assert int(answer.headers["retry-after"]) >= 1


def test_the_description_says_of_each_operation_whether_it_needs_a_key(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    assert set(description["components"]["securitySchemes"]) == {"key", "password"}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            is_closed = {"401", "403"} <= set(operation["responses"]) and "security" in operation
            assert is_closed is not is_open(path), (method, path)
            if "{" not in path and not is_open(path):
                answer = client.request(method, path)
                assert answer.status_code == 401, (method, path)
                media = answer.headers["content-type"]
                assert media in operation["responses"]["401"]["content"], (method, path)
