"""A key that brings a webhook: told of every job by default, signed by the key's own secret."""

import time
from collections.abc import Iterator

import pytest
from arq.connections import ArqRedis
from fastapi.testclient import TestClient
from key_holders import Holder, holder
from pydantic import SecretStr
from receiver import SECRET, Received, Receiver, receiving
from standardwebhooks import WebhookVerificationError

from api.app import create_app
from jobs.access.keyring import Keyring
from jobs.exchange import Exchange
from jobs.settings import Settings
from jobs.webhooks.model import Webhook

BODY = {"prompt": "a red circle"}
OWN = "whsec_" + "dGhlIGtleSdzIG93biBzZWNyZXQsIG9mIDMyIGJ5dGU="


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(params=["", SECRET], ids=["keys sign alone", "the service signs too"])
def client(
    settings: Settings, redis: object, request: pytest.FixtureRequest
) -> Iterator[TestClient]:
    changes = {"webhook_secret": SecretStr(request.param), "webhook_allow": ("127.0.0.1",)}
    with TestClient(create_app(settings.model_copy(update=changes))) as client:
        yield client


@pytest.fixture
async def ann(redis: ArqRedis, receiver: Receiver) -> Holder:
    return await holder(redis, webhook=Webhook(url=receiver.url), webhook_secret=OWN)


def told(client: TestClient, who: Holder, receiver: Receiver, **further: object) -> Received:
    """What a receiver gets of a job that ends."""
    answer = client.post("/v1/jobs", json={**BODY, **further}, headers=who.headers)
    client.post(f"/v1/jobs/{answer.json()['id']}/cancel", headers=who.headers)
    return first(receiver)


def first(receiver: Receiver) -> Received:
    deadline = time.monotonic() + 20
    while not receiver.received:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return receiver.received[0]


def test_jobs_of_the_key_are_told_by_default_and_signed_by_its_secret_alone(
    client: TestClient, ann: Holder, receiver: Receiver
) -> None:
    received = told(client, ann, receiver)
    assert received.verified(OWN)["type"] == "job.canceled"
    with pytest.raises(WebhookVerificationError):
        received.verified(SECRET)


def test_a_job_that_names_a_webhook_is_told_there_only(
    client: TestClient, ann: Holder, receiver: Receiver
) -> None:
    url = receiver.url.replace("/hook", "/other")
    received = told(client, ann, receiver, webhook={"url": url})
    assert received.path.startswith("/other")
    assert received.verified(OWN)


async def test_what_is_owed_when_a_key_is_revoked_is_still_signed_by_it(
    client: TestClient, ann: Holder, receiver: Receiver, redis: ArqRedis
) -> None:
    place = client.post("/v1/jobs", json=BODY, headers=ann.headers).json()["id"]
    await Keyring(Exchange(redis)).revoke(ann.key.id)
    other = await holder(redis)
    client.post(f"/v1/jobs/{place}/cancel", headers=other.headers)
    assert first(receiver).verified(OWN)


async def test_another_key_s_jobs_are_signed_by_the_service_if_it_can(
    client: TestClient, ann: Holder, receiver: Receiver, redis: ArqRedis
) -> None:
    bob, hook = await holder(redis, "bob"), {"url": receiver.url}
    settings: Settings = client.app.state.parts.settings  # type: ignore[attr-defined]
    if settings.webhook_secret.get_secret_value():
        assert told(client, bob, receiver, webhook=hook).verified(SECRET)
    else:
        answer = client.post("/v1/jobs", json={**BODY, "webhook": hook}, headers=bob.headers)
        assert answer.status_code == 422
        assert "DARKROOM_WEBHOOK_SECRET" in answer.json()["detail"]
