"""Webhooks as clients ask for them, see them, and lose none when a sender is killed."""

import asyncio
import base64
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from fastapi.testclient import TestClient
from pydantic import SecretStr
from receiver import SECRET, Receiver, receiving

from api.app import create_app
from jobs import keys
from jobs.model import AdmittedRequest
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.webhooks.model import Webhook
from local.ports import free_port
from local.stack import Stack

REPOSITORY = Path(__file__).parent.parent.parent
PROMPT = "a red circle on a blue background"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def hooked(settings: Settings) -> Settings:
    changes = {
        "webhook_secret": SecretStr(SECRET),
        "webhook_allow": ("127.0.0.1",),
        "webhook_retries_s": (0.0, 0.0),
    }
    return settings.model_copy(update=changes)


@pytest.fixture
def client(hooked: Settings, redis: object) -> Iterator[TestClient]:
    with TestClient(create_app(hooked), raise_server_exceptions=False) as client:
        yield client


def wait_for(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def submitted(client: TestClient, url: str) -> Any:
    answer = client.post("/v1/jobs", json={"prompt": PROMPT, "webhook": {"url": url}})
    assert answer.status_code == 202, answer.text
    return answer.json()


def deliveries(client: TestClient, job_id: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = client.get(f"/v1/jobs/{job_id}/deliveries").json()["deliveries"]
    return listed


def test_a_client_is_told_of_the_end_and_sees_how(client: TestClient, receiver: Receiver) -> None:
    receiver.answers = [500]
    job = submitted(client, receiver.url)
    assert job["request"]["webhook"]["url"] == receiver.url
    assert deliveries(client, job["id"]) == []
    client.post(f"/v1/jobs/{job['id']}/cancel")
    wait_for(lambda: deliveries(client, job["id"])[0]["outcome"] == "delivered")
    (delivery,) = deliveries(client, job["id"])
    assert [attempt["status_code"] for attempt in delivery["attempts"]] == [500, 204]
    assert delivery["event"] == "job.canceled"
    event: Any = receiver.received[-1].verified()
    assert receiver.received[-1].headers["webhook-id"] == delivery["id"]
    assert event["data"] == client.get(f"/v1/jobs/{job['id']}").json()


def test_the_deliveries_of_an_unknown_job_are_not_found(client: TestClient) -> None:
    assert client.get("/v1/jobs/nonsense/deliveries").status_code == 404


@pytest.mark.parametrize(
    ("webhook", "field"),
    [
        ({"url": "http://10.0.0.1/"}, "webhook.url"),
        ({"url": "http://0xa9fea9fe/latest/meta-data/"}, "webhook.url"),
        ({"url": "ftp://example.com/"}, "webhook.url"),
        ({"url": "https://user:word@example.com/"}, "webhook.url"),
        ({"url": "https://example.com/" + "x" * 2_048}, "webhook.url"),
        ({"url": "https://example.com/", "events": []}, "webhook.events"),
        ({"url": "https://example.com/", "events": ["job.exploded"]}, "webhook.events.0"),
        ({"url": "https://example.com/", "secret": "mine"}, "webhook.secret"),
        ({}, "webhook.url"),
    ],
)
def test_a_bad_webhook_is_refused_at_submit_by_its_field(
    client: TestClient, webhook: dict[str, object], field: str
) -> None:
    body = {"prompt": PROMPT, "webhook": webhook}
    answer = client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")
    assert answer.json()["errors"][0]["field"] == field
    batch = client.post("/v1/batches", json={"jobs": [{"prompt": PROMPT}, body]})
    assert batch.json()["errors"][0]["field"] == f"jobs.1.{field}"


def test_without_a_secret_a_webhook_is_refused_and_the_setting_named(
    settings: Settings, redis: object
) -> None:
    with TestClient(create_app(settings)) as client:
        body = {"prompt": PROMPT, "webhook": {"url": "https://example.com/"}}
        answer = client.post("/v1/jobs", json=body)
        (fault,) = answer.json()["errors"]
        assert (answer.status_code, fault["field"]) == (422, "webhook")
        assert "DARKROOM_WEBHOOK_SECRET" in fault["detail"]
        assert client.post("/v1/jobs", json={"prompt": PROMPT}).status_code == 202


def environment(stores: Stack) -> dict[str, str]:
    return {
        **os.environ,
        **stores.environment(),
        "DARKROOM_PORT": str(free_port()),
        "DARKROOM_WEBHOOK_SECRET": SECRET,
        "DARKROOM_WEBHOOK_ALLOW": "127.0.0.1",
    }


async def test_a_webhook_outlives_the_kill_of_its_sender_between_post_and_bookkeeping(
    stores: Stack,
    hooked: Settings,
    redis: ArqRedis,
    request_: AdmittedRequest,
    receiver: Receiver,
) -> None:
    """A real API process is killed while the receiver holds back its answer."""
    receiver.may_answer.clear()
    store = JobStore(redis, hooked)
    wanted = request_.model_copy(update={"webhook": Webhook(url=receiver.url)})
    job = await store.submit(wanted)
    await store.cancel(job.id)
    doomed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api"), cwd=REPOSITORY, env=environment(stores)
    )
    try:
        await asyncio.to_thread(wait_for, lambda: len(receiver.received) == 1)
    finally:
        doomed.kill()
        await doomed.wait()
    receiver.may_answer.set()
    (due,) = await redis.zrange(keys.WEBHOOKS, 0, -1, withscores=True)
    assert due[1] > time.time() * 1000, "the dead sender's lease still runs"
    # What the end of that lease leaves, without the wait for it.
    await redis.zadd(keys.WEBHOOKS, {due[0]: 0})
    with TestClient(create_app(hooked)) as client:
        wait_for(lambda: deliveries(client, job.id)[0]["outcome"] == "delivered")
    ids = [received.headers["webhook-id"] for received in receiver.received]
    assert ids == [f"msg_{job.id}_canceled"] * 2


def trial(stores: Stack, url: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local.command", "webhooks", "test", url],
        cwd=REPOSITORY,
        env={**environment(stores), **changes},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_sends_a_signed_event_and_prints_what_came_back(
    stores: Stack, receiver: Receiver
) -> None:
    receiver.answers, receiver.body = [202], b"thanks\x1b[2J"
    done = trial(stores, receiver.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["HTTP 202", r"'thanks\x1b[2J'"]
    assert receiver.received[0].verified()["type"] == "webhook.test"


@pytest.mark.parametrize(
    ("url", "changes", "says"),
    [
        ("", {"DARKROOM_WEBHOOK_ALLOW": ""}, "127.0.0.1 is not a public address"),
        ("", {"DARKROOM_WEBHOOK_SECRET": ""}, "DARKROOM_WEBHOOK_SECRET is empty"),
        ("ftp://example.com/", {}, "URL scheme should be 'http' or 'https'"),
    ],
)
def test_the_command_says_why_nothing_was_delivered(
    stores: Stack, receiver: Receiver, url: str, changes: dict[str, str], says: str
) -> None:
    done = trial(stores, url or receiver.url, **changes)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert SECRET not in done.stdout + done.stderr
    assert not receiver.received


def test_the_command_fails_when_the_receiver_refuses(stores: Stack, receiver: Receiver) -> None:
    receiver.answers = [500]
    done = trial(stores, receiver.url)
    assert (done.returncode, done.stdout.splitlines()) == (1, ["HTTP 500", "(empty)"])
    assert "the answer was 500" in done.stderr


def test_the_receiver_of_the_documentation_takes_what_is_signed_and_nothing_else(
    stores: Stack, tmp_path: Path
) -> None:
    page = (REPOSITORY / "docs" / "webhooks.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    (tmp_path / "receiver.py").write_text(program.replace("9000", str(port)))
    command = [sys.executable, str(tmp_path / "receiver.py")]
    with subprocess.Popen(
        command, env=environment(stores), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as receiver:
        try:
            wait_for(lambda: trial(stores, url).returncode == 0)
            assert receiver.stdout is not None
            assert b" webhook.test " in receiver.stdout.readline()
            other = "whsec_" + base64.b64encode(b"x" * 32).decode()
            forged = trial(stores, url, DARKROOM_WEBHOOK_SECRET=other)
            assert (forged.returncode, forged.stdout.splitlines()[0]) == (1, "HTTP 401")
        finally:
            receiver.kill()


def test_openapi_describes_what_a_receiver_gets(client: TestClient, receiver: Receiver) -> None:
    client.post(f"/v1/jobs/{submitted(client, receiver.url)['id']}/cancel")
    wait_for(lambda: bool(receiver.received))
    description = client.get("/openapi.json").json()
    (call,) = description["webhooks"]["job"].values()
    body = call["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
    assert set(description["components"]["schemas"][body]["properties"]) == set(
        receiver.received[0].verified()
    )
    sent = {name.lower() for name in receiver.received[0].headers}
    assert {parameter["name"] for parameter in call["parameters"]} <= sent
