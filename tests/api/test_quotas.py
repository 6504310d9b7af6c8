"""A key's limits over HTTP: what is charged and told, and that several processes share them."""

from collections.abc import Iterator
from typing import Any

import http_sf
import httpx
import pytest
from arq.connections import ArqRedis
from fastapi.testclient import TestClient
from key_holders import Holder, holder

from api.app import create_app
from jobs.settings import Settings
from jobs.store import JobStore

BODY = {"prompt": "a red circle"}


@pytest.fixture
def processes(settings: Settings, redis: object) -> Iterator[list[TestClient]]:
    """Two APIs on one Redis."""
    locked = settings.model_copy(update={"allow_anonymous": False, "queue_max_jobs": 8})
    with TestClient(create_app(locked)) as one, TestClient(create_app(locked)) as other:
        yield [one, other]


@pytest.fixture
def client(processes: list[TestClient]) -> TestClient:
    return processes[0]


def submit(client: TestClient, who: Holder, **further: Any) -> httpx.Response:
    return client.post("/v1/jobs", json={**BODY, **further}, headers=who.headers)


def left(answer: httpx.Response) -> dict[str, int]:
    """What an answer says is left, as a reader of structured fields (RFC 9651) understands it."""
    found = http_sf.parse(answer.headers["ratelimit"].encode(), tltype="list")
    return {name: parameters["r"] for name, parameters in found}


def test_what_is_left_is_told_in_the_draft_s_form(client: TestClient, mixed: Holder) -> None:
    answer = submit(client, mixed, images=3)
    policies = http_sf.parse(answer.headers["ratelimit-policy"].encode(), tltype="list")
    assert policies == [
        ("jobs-per-minute", {"q": 4, "w": 60}),
        ("images-per-day", {"q": 10, "qu": "images", "w": 86_400}),
        ("unfinished-jobs", {"q": 3, "qu": "concurrent-requests"}),
    ]
    assert left(answer) == {"jobs-per-minute": 3, "images-per-day": 7, "unfinished-jobs": 2}
    limits = dict(http_sf.parse(answer.headers["ratelimit"].encode(), tltype="list"))
    assert 55 <= limits["jobs-per-minute"]["t"] <= 60
    assert "t" not in limits["unfinished-jobs"]


@pytest.fixture
async def mixed(redis: ArqRedis) -> Holder:
    limits = {"jobs_per_minute": 4, "images_per_day": 10, "unfinished_jobs": 3}
    return await holder(redis, limits=limits)


async def test_a_limit_holds_over_all_processes_together(
    processes: list[TestClient], redis: ArqRedis
) -> None:
    ann = await holder(redis, limits={"jobs_per_minute": 5})
    bob = await holder(redis, "bob", limits={"jobs_per_minute": 5})
    answers = [submit(processes[number % 2], ann) for number in range(8)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429] * 3
    assert submit(processes[0], bob).status_code == 202


async def test_a_refusal_says_which_limit_and_when_to_come_back(
    client: TestClient, redis: ArqRedis
) -> None:
    ann = await holder(redis, limits={"images_per_day": 4})
    submit(client, ann, images=3)
    refused = submit(client, ann, images=2)
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert problem["type"] == "/problems/quota-exceeded"
    assert problem["errors"] == [
        {"field": "images-per-day", "detail": problem["detail"], "limit": 4}
    ]
    assert 86_400 <= int(refused.headers["retry-after"]) <= 2 * 86_400
    assert left(refused) == {"images-per-day": 1}
    assert submit(client, ann, images=1).status_code == 202


async def test_what_is_refused_or_replayed_costs_nothing(
    client: TestClient, mixed: Holder, store: JobStore
) -> None:
    once = {**mixed.headers, "Idempotency-Key": "once"}
    first = client.post("/v1/jobs", json=BODY, headers=once)
    before = left(first)
    again = client.post("/v1/jobs", json=BODY, headers=once)
    assert again.json()["id"] == first.json()["id"]
    conflict = client.post("/v1/jobs", json={"prompt": "else"}, headers=once)
    invalid = submit(client, mixed, steps=5_000)
    unable = submit(client, mixed, webhook={"url": "https://example.com/hook"})
    over = submit(client, mixed, images=11)
    assert [a.status_code for a in (again, conflict, invalid, unable, over)] == [202] + [422] * 4
    assert over.json()["errors"][0]["limit"] == 10
    for answer in (again, conflict, invalid, unable, over):
        assert left(answer) == before


async def test_a_full_queue_costs_its_callers_nothing(client: TestClient, redis: ArqRedis) -> None:
    ann = await holder(redis, limits={"jobs_per_minute": 100})
    answers = [submit(client, ann) for _ in range(10)]
    assert [answer.status_code for answer in answers] == [202] * 8 + [429] * 2
    assert answers[-1].json()["type"] == "/problems/queue-full"
    assert left(answers[-1]) == {"jobs-per-minute": 92}


async def test_what_is_there_is_answered_though_nothing_is_left(
    client: TestClient, redis: ArqRedis
) -> None:
    ann = await holder(redis, limits={"jobs_per_minute": 1})
    once = {**ann.headers, "Idempotency-Key": "once"}
    first, again, other = (
        client.post("/v1/jobs", json={"prompt": prompt}, headers=once)
        for prompt in ("red", "red", "blue")
    )
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 429)
    assert again.json()["id"] == first.json()["id"]


async def test_a_batch_is_charged_whole_or_not_at_all(client: TestClient, redis: ArqRedis) -> None:
    ann = await holder(redis, limits={"jobs_per_minute": 5, "images_per_day": 100})

    def batch(count: int) -> httpx.Response:
        body = {"jobs": [{**BODY, "images": 2}] * count}
        return client.post("/v1/batches", json=body, headers=ann.headers)

    assert left(batch(3)) == {"jobs-per-minute": 2, "images-per-day": 94}
    refused, never = batch(3), batch(6)
    assert (refused.status_code, never.status_code) == (429, 422)
    assert left(never) == {"jobs-per-minute": 2, "images-per-day": 94}
    assert left(batch(2)) == {"jobs-per-minute": 0, "images-per-day": 90}


async def test_unfinished_jobs_are_counted_until_they_end(
    processes: list[TestClient], redis: ArqRedis
) -> None:
    ann = await holder(redis, limits={"unfinished_jobs": 2})
    places = [submit(process, ann).headers["location"] for process in processes]
    refused = submit(processes[0], ann)
    assert refused.json()["type"] == "/problems/quota-exceeded"
    assert int(refused.headers["retry-after"]) >= 1
    for method, place in (("post", places[0] + "/cancel"), ("delete", places[1])):
        assert processes[0].request(method, place, headers=ann.headers).is_success
        again = submit(processes[1], ann)
        assert again.status_code == 202
        assert left(again) == {"unfinished-jobs": 0}


async def test_polls_are_neither_charged_nor_slowed(client: TestClient, mixed: Holder) -> None:
    place = submit(client, mixed).headers["location"]
    polled = [client.get(place, headers=mixed.headers) for _ in range(10)]
    assert {answer.status_code for answer in polled} == {200}
    assert "ratelimit" not in polled[0].headers
    assert left(submit(client, mixed))["jobs-per-minute"] == 2


async def test_openai_s_clients_are_limited_too(client: TestClient, redis: ArqRedis) -> None:
    ann = await holder(redis, limits={"images_per_day": 1})
    submit(client, ann)
    answer = client.post("/v1/images/generations", json=BODY, headers=ann.headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(answer.headers["retry-after"]) > 0


def test_who_has_no_limits_is_told_of_none(settings: Settings, redis: object) -> None:
    with TestClient(create_app(settings)) as client:
        assert "ratelimit" not in client.post("/v1/jobs", json=BODY).headers
