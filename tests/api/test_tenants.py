"""What belongs to one tenant is not there for another, on whatever route there is."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from arq.connections import ArqRedis
from fastapi.testclient import TestClient
from key_holders import Holder, holder

from api.app import create_app
from jobs import keys
from jobs.settings import Settings
from jobs.store import JobStore, new_job_id

BODY = {"prompt": "a red circle"}
METHODS = ("get", "post", "put", "patch", "delete")
#: Parameters of paths that name nothing of anybody's.
OF_NOBODY = {"kind"}


def routes_with_an_id(settings: Settings) -> list[tuple[str, str]]:
    """Every operation that takes the id of something, from the service's own description."""
    found = []
    for path, operations in create_app(settings).openapi()["paths"].items():
        names = set(re.findall(r"{(\w+)}", path)) - OF_NOBODY
        found += [(method, path) for method in METHODS if names and method in operations]
    return found


@pytest.fixture
def client(settings: Settings, redis: object) -> Iterator[TestClient]:
    locked = settings.model_copy(update={"allow_anonymous": False})
    with TestClient(create_app(locked), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
async def ann(redis: ArqRedis) -> Holder:
    return await holder(redis, "ann")


@pytest.fixture
async def bob(redis: ArqRedis) -> Holder:
    return await holder(redis, "bob")


def submitted(client: TestClient, who: Holder, **further: Any) -> str:
    answer = client.post("/v1/jobs", json={**BODY, **further}, headers=who.headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def batched(client: TestClient, who: Holder) -> str:
    body = {"jobs": [BODY, BODY]}
    return str(client.post("/v1/batches", json=body, headers=who.headers).json()["id"])


def test_no_route_with_an_id_shows_or_touches_another_tenant_s(
    client: TestClient, settings: Settings, ann: Holder, bob: Holder
) -> None:
    made = {"job_id": submitted(client, ann), "batch_id": batched(client, ann)}
    unknown = {name: new_job_id() for name in made}
    routes = routes_with_an_id(settings)
    assert len(routes) >= 7
    for method, path in routes:
        # A parameter that is new here must be told how to be made.
        theirs, nobody_s = path.format(**made), path.format(**unknown)
        refused = client.request(method, theirs, headers=bob.headers)
        absent = client.request(method, nobody_s, headers=bob.headers)
        assert refused.status_code == absent.status_code == 404, (method, path)
        told = refused.text.replace(theirs.split("/")[3], "ID")
        assert told == absent.text.replace(nobody_s.split("/")[3], "ID"), (method, path)
    job = client.get(f"/v1/jobs/{made['job_id']}", headers=ann.headers).json()
    batch = client.get(f"/v1/batches/{made['batch_id']}", headers=ann.headers).json()
    assert job["status"] == "queued"
    assert batch["counts"]["queued"] == 2


def test_the_owner_reaches_all_of_it(client: TestClient, settings: Settings, ann: Holder) -> None:
    for method, path in routes_with_an_id(settings):
        made = {"job_id": submitted(client, ann), "batch_id": batched(client, ann)}
        if path.endswith("/events"):
            # The stream of a job that has ended ends, too.
            client.post(f"/v1/jobs/{made['job_id']}/cancel", headers=ann.headers)
        answer = client.request(method, path.format(**made), headers=ann.headers)
        assert answer.is_success, (method, path)


async def test_two_keys_of_a_tenant_share_its_jobs(
    client: TestClient, redis: ArqRedis, ann: Holder
) -> None:
    other = await holder(redis, "ann")
    job_id = submitted(client, ann)
    assert client.get(f"/v1/jobs/{job_id}", headers=other.headers).status_code == 200


def test_lists_hold_a_tenant_s_own_jobs(client: TestClient, ann: Holder, bob: Holder) -> None:
    job_id, batch_id = submitted(client, ann), batched(client, ann)

    def listed(who: Holder, **query: str) -> list[str]:
        answer = client.get("/v1/jobs", params=query, headers=who.headers)
        return [job["id"] for job in answer.json()["jobs"]]

    assert len(listed(ann)) == 3
    assert len(listed(ann, batch=batch_id)) == 2
    assert listed(bob) == listed(bob, batch=batch_id) == []
    assert listed(bob, cursor=new_job_id()) == []
    assert job_id in listed(ann), "and looking has taken nothing out"


def test_idempotency_keys_are_a_tenant_s_own(client: TestClient, ann: Holder, bob: Holder) -> None:
    once = {"Idempotency-Key": "order-66"}
    for path, body in (("/v1/jobs", BODY), ("/v1/batches", {"jobs": [BODY]})):
        ids = {
            client.post(path, json=body, headers={**who.headers, **once}).json().get("id")
            for who in (ann, ann, bob)
        }
        # The second path meets a key of the first one's, used for another request.
        assert len(ids - {None}) == (2 if path == "/v1/jobs" else 0)


async def test_what_one_tenant_waits_for_another_neither_sees_nor_stops(
    client: TestClient, ann: Holder, bob: Holder, store: JobStore, redis: ArqRedis
) -> None:
    async def answer(method: str, path: str, who: Holder, **more: Any) -> Any:
        return await asyncio.to_thread(
            client.request, method, f"/sdapi/v1/{path}", headers=who.headers, **more
        )

    # A test's client speaks from one address, whoever speaks through it.
    waiting = asyncio.create_task(answer("post", "txt2img", ann, json=BODY))
    async with asyncio.timeout(10):
        while not (await answer("get", "progress", ann)).json()["state"]["job_count"]:
            await asyncio.sleep(0.01)
    assert (await answer("get", "progress", bob)).json()["state"]["job_count"] == 0
    for path in ("interrupt", "skip"):
        await answer("post", path, bob)
    (job_id,) = await redis.zrange(keys.queue("shapes-sd"), 0, -1)
    assert (await store.get(job_id.decode())).status == "queued"
    await answer("post", "options", bob, json={"samples_format": "webp"})
    assert (await answer("get", "options", ann)).json()["samples_format"] == "png"
    await answer("post", "interrupt", ann)
    assert (await waiting).json()["images"] == []
