"""Submitting, polling and cancelling over HTTP."""

import asyncio
import hashlib
from pathlib import Path

import httpx
import pytest
from arq.connections import ArqRedis
from fastapi.testclient import TestClient

from jobs.connection import connect
from jobs.model import Image, OutputFormat
from jobs.settings import Settings
from jobs.storage import PictureStore, picture_key
from jobs.store import JobStore
from pipelines.catalog import Catalog

PROMPT = "a red circle on a blue background"
CONTENT = b"picture"


async def finish(settings: Settings, pictures: PictureStore, job_id: str) -> None:
    """What a worker does with a job, without the picture."""
    redis = connect(settings)
    store = JobStore(redis, settings)
    claimed = await store.claim(job_id, "shapes-sd", "here:1:abc")
    assert claimed is not None
    pictures.put(picture_key(job_id, 0, OutputFormat.PNG), CONTENT, "image/png")
    image = Image(
        index=0,
        seed=7,
        width=64,
        height=64,
        content_type="image/png",
        size_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    await store.succeed(claimed[1], [image])
    await redis.aclose()


def test_a_submitted_job_is_accepted_and_told_where_to_look(client: TestClient) -> None:
    answer = client.post("/v1/jobs", json={"prompt": PROMPT, "seed": 7})
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["status"] == "queued"
    assert job["queue"] == {"position": 0, "workers": 0, "eta_s": None}
    assert client.get(answer.headers["location"]).json() == job


def test_what_a_request_leaves_open_takes_the_model_s_defaults(client: TestClient) -> None:
    request = client.post("/v1/jobs", json={"prompt": PROMPT}).json()["request"]
    model = client.get("/v1/models").json()["models"][0]
    assert request["model"] == model["name"]
    assert [request["width"], request["height"]] == model["size"]["default"]
    assert request["steps"] == model["steps"]["default"]
    assert request["guidance_scale"] == model["guidance_scale"]["default"]
    assert 0 <= request["seed"] < 2**32


def test_a_finished_job_shows_each_picture_with_an_address_that_works(
    client: TestClient, settings: Settings, pictures: PictureStore
) -> None:
    job_id = client.post("/v1/jobs", json={"prompt": PROMPT}).json()["id"]
    asyncio.run(finish(settings, pictures, job_id))
    job = client.get(f"/v1/jobs/{job_id}").json()
    (image,) = job["images"]
    assert job["status"] == "succeeded"
    assert job["progress"] == {"step": 20, "steps": 20, "images_per_s": None}
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert {name: image[name] for name in ("seed", "width", "height", "size_bytes")} == {
        "seed": 7,
        "width": 64,
        "height": 64,
        "size_bytes": len(CONTENT),
    }
    downloaded = httpx.get(image["url"])
    assert hashlib.sha256(downloaded.content).hexdigest() == image["sha256"]
    assert downloaded.headers["content-type"] == image["content_type"] == "image/png"


def test_cancelling_answers_with_the_final_state_and_can_be_repeated(client: TestClient) -> None:
    job_id = client.post("/v1/jobs", json={"prompt": PROMPT}).json()["id"]
    for _ in range(2):
        answer = client.post(f"/v1/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")


@pytest.mark.parametrize("job_id", ["0" * 32, "nonsense", "..%2f..%2fetc", "*", "x" * 500])
def test_an_unknown_job_is_not_found(client: TestClient, job_id: str) -> None:
    answer = client.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_same_idempotency_key_and_body_answer_with_the_same_job(client: TestClient) -> None:
    key = {"Idempotency-Key": "order-66"}
    first, again = [client.post("/v1/jobs", json={"prompt": PROMPT}, headers=key) for _ in range(2)]
    other = client.post("/v1/jobs", json={"prompt": "a green star"}, headers=key)
    assert first.json() == again.json()
    assert again.status_code == 202
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "caf\u00e9"])
def test_an_idempotency_key_has_limits(client: TestClient, key: str) -> None:
    answer = client.post(
        "/v1/jobs", json={"prompt": PROMPT}, headers={"Idempotency-Key": key.encode("latin-1")}
    )
    (fault,) = answer.json()["errors"]
    assert (answer.status_code, fault["field"]) == (422, "idempotency-key")


CATALOGUE = Path(__file__).parent.parent.parent / "models.yaml"
#: Heun does not know a schedule with zero terminal SNR, so the shipped model does not offer it.
SCHEDULERS = list(Catalog.load(CATALOGUE)["shapes-sd"].schedulers)

REFUSALS: list[tuple[dict[str, object], str, object]] = [
    ({"prompt": ""}, "prompt", 1),
    ({"prompt": "x" * 10_000}, "prompt", 2_000),
    ({}, "prompt", None),
    ({"prompt": 7}, "prompt", None),
    ({"prompt": PROMPT, "width": 63}, "width", [64, 128]),
    ({"prompt": PROMPT, "width": 68}, "width", 8),
    ({"prompt": PROMPT, "height": 136}, "height", [64, 128]),
    ({"prompt": PROMPT, "steps": 0}, "steps", 1),
    ({"prompt": PROMPT, "steps": 101}, "steps", 100),
    ({"prompt": PROMPT, "steps": "many"}, "steps", None),
    ({"prompt": PROMPT, "guidance_scale": 20.5}, "guidance_scale", 20.0),
    ({"prompt": PROMPT, "images": 17}, "images", 16),
    ({"prompt": PROMPT, "seed": 2**53 - 1, "images": 2}, "seed", 2**53 - 2),
    ({"prompt": PROMPT, "model": "dall-e"}, "model", ["shapes-sd"]),
    ({"prompt": PROMPT, "scheduler": "psychic"}, "scheduler", SCHEDULERS),
    ({"prompt": PROMPT, "scheduler": "Heun"}, "scheduler", SCHEDULERS),
    ({"prompt": PROMPT, "output_format": "gif"}, "output_format", "'png', 'webp' or 'jpeg'"),
    ({"prompt": PROMPT, "colour": "red"}, "colour", None),
]


@pytest.mark.parametrize(("body", "field", "limit"), REFUSALS)
async def test_a_bad_request_names_its_field_and_limit_and_costs_nothing(
    client: TestClient, redis: ArqRedis, body: dict[str, object], field: str, limit: object
) -> None:
    answer = client.post("/v1/jobs", json=body)
    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "/problems/invalid-request"
    (fault,) = problem["errors"]
    assert fault["field"] == field
    assert fault["detail"]
    assert fault.get("limit") == limit
    assert await redis.dbsize() == 0


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        (b'{"prompt": "a circle"', 400, "malformed-json"),
        (b"\xff\xfe", 400, "malformed-json"),
        (b"[]", 422, "invalid-request"),
        (b"", 422, "invalid-request"),
        (b'{"prompt": "' + b"x" * 2**20 + b'"}', 413, "body-too-large"),
    ],
)
async def test_a_body_that_cannot_be_read_costs_nothing(
    client: TestClient, redis: ArqRedis, content: bytes, status: int, kind: str
) -> None:
    answer = client.post("/v1/jobs", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}")
    assert await redis.dbsize() == 0


async def test_a_body_that_hides_its_length_is_cut_off_as_well(
    client: TestClient, redis: ArqRedis
) -> None:
    answer = client.post(
        "/v1/jobs",
        content=(b"x" * 1_000 for _ in range(2_000)),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 413
    assert await redis.dbsize() == 0


def test_several_faults_are_all_told_at_once(client: TestClient) -> None:
    body = {"prompt": PROMPT, "width": 12, "steps": 500, "guidance_scale": 50}
    problem = client.post("/v1/jobs", json=body).json()
    assert [fault["field"] for fault in problem["errors"]] == ["width", "steps", "guidance_scale"]
