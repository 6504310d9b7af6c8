"""Many jobs in one request, and finding jobs again."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

PROMPT = "a red circle"
GRID = {"prompt": [PROMPT, "a blue star"], "seed": [1, 2, 3], "guidance_scale": [1.0, 4.0]}


def submitted(client: TestClient, **fields: Any) -> str:
    answer = client.post("/v1/jobs", json={"prompt": PROMPT, **fields})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def listed(client: TestClient, **query: Any) -> list[str]:
    return [job["id"] for job in client.get("/v1/jobs", params=query).json()["jobs"]]


def test_a_grid_makes_every_combination_and_the_last_field_turns_fastest(
    client: TestClient,
) -> None:
    body = {"base": {"steps": 5}, "grid": GRID}
    batch = client.post("/v1/batches", json=body).json()
    assert batch["counts"]["queued"] == len(batch["jobs"]) == 12
    assert not batch["finished"]
    made = [client.get(f"/v1/jobs/{job_id}").json()["request"] for job_id in batch["jobs"]]
    assert [(one["prompt"], one["seed"], one["guidance_scale"]) for one in made[:3]] == [
        (PROMPT, 1, 1.0),
        (PROMPT, 1, 4.0),
        (PROMPT, 2, 1.0),
    ]
    assert {one["steps"] for one in made} == {5}


def test_a_thousand_jobs_are_taken_in_one_request_and_stopped_in_one(client: TestClient) -> None:
    body = {"jobs": [{"prompt": PROMPT, "seed": number} for number in range(1_000)]}
    batch = client.post("/v1/batches", json=body).json()
    assert batch["counts"]["queued"] == 1_000
    ended = client.post(f"/v1/batches/{batch['id']}/cancel").json()
    assert ended["finished"]
    assert ended["counts"]["canceled"] == 1_000


def test_the_same_key_and_batch_is_the_same_batch(client: TestClient) -> None:
    body = {"jobs": [{"prompt": PROMPT}] * 3}
    headers = {"Idempotency-Key": "batch-once"}
    first, again = (client.post("/v1/batches", json=body, headers=headers) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    other = client.post("/v1/batches", json={"jobs": body["jobs"][:2]}, headers=headers)
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"jobs": [{"prompt": PROMPT}], "grid": {"seed": [1]}}, "body"),
        ({"jobs": []}, "jobs"),
        ({"jobs": [{"prompt": PROMPT}, {"prompt": PROMPT, "steps": 999}]}, "jobs.1.steps"),
        ({"base": {"prompt": PROMPT}, "grid": {"steps": [5, "many"]}}, "steps"),
        ({"base": {"prompt": PROMPT}, "grid": {"no_such_field": [1]}}, "no_such_field"),
        (
            {"base": {"prompt": PROMPT}, "grid": {"seed": list(range(40)), "steps": [5] * 40}},
            "body",
        ),
    ],
)
def test_a_batch_that_breaks_a_limit_names_job_and_field(
    client: TestClient, body: dict[str, Any], field: str
) -> None:
    answer = client.post("/v1/batches", json=body)
    assert answer.status_code == 422
    assert field in [fault["field"] for fault in answer.json()["errors"]]


def test_pages_hold_still_while_jobs_are_submitted(client: TestClient) -> None:
    made = [submitted(client) for _ in range(5)]
    first = client.get("/v1/jobs", params={"limit": 2}).json()
    assert [job["id"] for job in first["jobs"]] == made[:2:-1]
    submitted(client)
    second = client.get("/v1/jobs", params={"limit": 2, "cursor": first["next"]}).json()
    third = client.get("/v1/jobs", params={"limit": 2, "cursor": second["next"]}).json()
    assert [job["id"] for job in second["jobs"] + third["jobs"]] == made[2::-1]
    assert third["next"] is None


def test_jobs_are_found_by_status_label_model_batch_and_time(client: TestClient) -> None:
    plain = submitted(client)
    labelled = submitted(client, labels={"project": "zoo", "kind": "test"}, metadata={"row": [1]})
    client.post(f"/v1/jobs/{plain}/cancel")
    batch = client.post("/v1/batches", json={"jobs": [{"prompt": PROMPT}]}).json()
    assert listed(client, status="canceled") == [plain]
    assert listed(client, label="project:zoo") == [labelled]
    assert listed(client, label="project:ark") == []
    assert listed(client, batch=batch["id"]) == batch["jobs"]
    assert listed(client, model="no-such-model") == []
    job = client.get(f"/v1/jobs/{labelled}").json()
    assert job["request"]["metadata"] == {"row": [1]}
    assert plain in listed(client, created_before=job["created_at"])
    assert labelled not in listed(client, created_before=job["created_at"])
    assert set(listed(client, created_from=job["created_at"])) == {labelled, *batch["jobs"]}


def test_what_is_deleted_is_listed_no_more(client: TestClient) -> None:
    kept, gone = submitted(client), submitted(client)
    client.delete(f"/v1/jobs/{gone}")
    assert listed(client) == [kept]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"labels": {"a b": "x"}}, "labels.a b.[key]"),
        ({"labels": {str(number): "" for number in range(17)}}, "labels"),
        ({"labels": {"a": "x" * 256}}, "labels.a"),
        ({"metadata": {"a": "x" * 5_000}}, "metadata"),
    ],
)
def test_labels_and_metadata_are_bounded(
    client: TestClient, fields: dict[str, Any], field: str
) -> None:
    answer = client.post("/v1/jobs", json={"prompt": PROMPT, **fields})
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field], json.dumps(
        answer.json()
    )
