"""Whoever can write to Redis spoils what he writes to, nothing else, and runs no code."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from arq.connections import ArqRedis
from fastapi.testclient import TestClient

from jobs import keys

FIELDS = ("request", "status", "step", "created_ms", "images", "error", "attempts", "started_ms")
BODY = {"prompt": "a red circle", "model": "shapes-sd"}


class Evil:
    """Whoever unpickles it leaves a file behind."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._proof), "w")


@pytest.fixture
def values(tmp_path: Path) -> list[bytes]:
    """What is put in the place of what we wrote."""
    evil = pickle.dumps(Evil(tmp_path / "was run"))
    return [b"", b"{", b"[]", b"null", b'{"a": NaN}', b"\xff\xfe\x00", b"9" * 5_000, evil]


def submitted(client: TestClient, **more: object) -> str:
    return str(client.post("/v1/jobs", json={**BODY, **more}).json()["id"])


def is_whole(client: TestClient, sound: str) -> None:
    """Everybody else's job is seen, listed and stopped as ever."""
    assert client.get(f"/v1/jobs/{sound}").status_code == 200
    listed = client.get("/v1/jobs")
    assert listed.status_code == 200, listed.text
    assert sound in [job["id"] for job in listed.json()["jobs"]]
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "field",
    ["request", "status", "step", "created_ms", "images", "error", "attempts", "started_ms"],
)
async def test_a_poisoned_record_spoils_its_own_job_alone(
    client: TestClient, redis: ArqRedis, values: list[bytes], tmp_path: Path, field: str
) -> None:
    sound, poisoned = submitted(client), submitted(client)
    for value in values:
        await redis.hset(keys.job(poisoned), field, value)  # type: ignore[misc]
        answer = client.get(f"/v1/jobs/{poisoned}")
        assert answer.headers["content-type"].endswith("json"), value
        assert "Traceback" not in answer.text
        is_whole(client, sound)
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize(
    "key",
    [keys.job, keys.events, keys.deliveries, keys.definition, keys.batch],
    ids=lambda key: str(key.__name__),
)
async def test_a_value_of_another_type_spoils_its_own_job_alone(
    client: TestClient, redis: ArqRedis, key: Callable[[str], str]
) -> None:
    sound, poisoned = submitted(client), submitted(client)
    await redis.delete(key(poisoned))
    await redis.set(key(poisoned), b"poison")
    for path in ("", "/deliveries"):
        answer = client.get(f"/v1/jobs/{poisoned}{path}")
        assert answer.headers["content-type"].endswith("json")
    client.post(f"/v1/jobs/{poisoned}/cancel")
    client.get(f"/v1/jobs/{poisoned}/events")
    client.get(f"/v1/batches/{poisoned}")
    is_whole(client, sound)


async def test_a_poisoned_index_and_batch_name_no_jobs_that_are_not_there(
    client: TestClient, redis: ArqRedis, values: list[bytes]
) -> None:
    sound = submitted(client)
    await redis.zadd(keys.index("default"), dict.fromkeys((*values, b"../../etc", b"f"), 0))
    is_whole(client, sound)
    batch = client.post("/v1/batches", json={"jobs": [BODY]}).json()["id"]
    for value in values:
        await redis.hset(keys.batch(batch), "jobs", value)  # type: ignore[misc]
        assert client.get(f"/v1/batches/{batch}").headers["content-type"].endswith("json")
    is_whole(client, sound)


async def test_a_poisoned_idempotency_key_is_a_conflict_or_a_job_that_is_not_there(
    client: TestClient, redis: ArqRedis, values: list[bytes]
) -> None:
    key = {"Idempotency-Key": "mine"}
    for value in values:
        await redis.hset(keys.idempotency("default", "mine"), mapping={"id": value})  # type: ignore[misc]
        answer = client.post("/v1/jobs", json=BODY, headers=key)
        assert answer.status_code in (404, 422)
