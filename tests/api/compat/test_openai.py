"""OpenAI's image API: what it is asked for, what it answers, and what it refuses."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from jobs.settings import Settings
from pipelines.errors import CatalogError

PATH = "/v1/images/generations"
PROMPT = "a red circle on a blue background"


async def posted(http: httpx.AsyncClient, **fields: Any) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(http.post(PATH, json={"prompt": PROMPT, **fields}))


async def test_pictures_come_in_base64_by_default(http: httpx.AsyncClient, hand: Any) -> None:
    waiting = await posted(http, n=2, size="64x128", user="someone", quality="high")
    job, lease = await hand.take()
    contents = await hand.succeed(job, lease)
    answer = await waiting
    body = answer.json()
    assert answer.status_code == 200
    assert [base64.b64decode(image["b64_json"]) for image in body["data"]] == contents
    assert (job.request.width, job.request.height, job.request.images) == (64, 128, 2)
    assert body["created"] == int(job.created_at.timestamp())
    described = {name: body[name] for name in ("size", "quality", "output_format", "background")}
    assert described == {
        "size": "64x128",
        "quality": "high",
        "output_format": "png",
        "background": "opaque",
    }
    assert body["usage"]["total_tokens"] == 0


async def test_pictures_come_as_addresses_when_those_are_asked_for(
    http: httpx.AsyncClient, hand: Any
) -> None:
    waiting = await posted(http, response_format="url", output_format="webp")
    job, lease = await hand.take()
    (content,) = await hand.succeed(job, lease)
    (image,) = (await waiting).json()["data"]
    assert list(image) == ["url"]
    assert (await http.get(image["url"])).content == content
    assert (await http.get(image["url"])).headers["content-type"] == "image/webp"


async def test_what_is_open_takes_the_model_s_defaults_and_further_fields_are_a_job_s(
    http: httpx.AsyncClient, hand: Any
) -> None:
    waiting = await posted(
        http, size="auto", n=None, seed=11, negative_prompt="stars", output_compression=0
    )
    job, lease = await hand.take()
    await hand.succeed(job, lease)
    assert (await waiting).status_code == 200
    request = job.request
    assert (request.model, request.width, request.height) == ("shapes-sd", 64, 64)
    assert (request.seed, request.output_quality, request.negative_prompt) == (11, 1, "stars")


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"model": "dall-e-3"}, 404, "model", "model_not_found"),
        ({"size": "1024x1024"}, 400, "size", "invalid_value"),
        ({"size": "large"}, 400, "size", "invalid_value"),
        ({"n": 17}, 400, "n", "invalid_value"),
        ({"prompt": " "}, 400, "prompt", "invalid_value"),
        ({"prompt": None}, 400, "prompt", "invalid_value"),
        ({"steps": 101}, 400, "steps", "invalid_value"),
        ({"num_steps": 20}, 400, "num_steps", "invalid_value"),
        ({"background": "transparent"}, 400, "background", "invalid_value"),
        ({"partial_images": 4}, 400, "partial_images", "invalid_value"),
    ],
)
def test_a_refusal_has_openai_s_form_and_names_the_field(
    client: TestClient, fields: dict[str, Any], status: int, param: str, code: str
) -> None:
    answer = client.post(PATH, json={"prompt": PROMPT, **fields})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code)
    assert error["type"] == "invalid_request_error"
    assert param in error["message"]


def test_a_body_that_is_no_json_or_too_large_is_refused_in_the_same_form(
    client: TestClient,
) -> None:
    headers = {"Content-Type": "application/json"}
    broken = client.post(PATH, content=b"{", headers=headers)
    large = client.post(PATH, json={"prompt": "a" * 2**20})
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_json")
    assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")


def test_a_full_queue_is_a_rate_limit(settings: Settings, redis: object) -> None:
    with TestClient(create_app(settings.model_copy(update={"queue_max_jobs": 1}))) as client:
        client.post("/v1/jobs", json={"prompt": PROMPT})
        answer = client.post(PATH, json={"prompt": PROMPT})
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limit_error")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_failed_job_says_why_and_is_not_to_be_tried_again(
    http: httpx.AsyncClient, hand: Any
) -> None:
    waiting = await posted(http)
    _, lease = await hand.take()
    await hand.fail(lease)
    answer = await waiting
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "job-failed")
    assert "it does not fit" in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"


async def test_a_job_that_somebody_cancels_is_a_conflict(
    http: httpx.AsyncClient, hand: Any
) -> None:
    waiting = await posted(http)
    (job_id,) = await hand.waiting()
    await http.post(f"/v1/jobs/{job_id}/cancel")
    answer = await waiting
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "job-canceled")


@pytest.mark.parametrize("streaming", [False, True])
async def test_the_job_of_a_client_that_leaves_is_cancelled(
    http: httpx.AsyncClient, hand: Any, streaming: bool
) -> None:
    waiting = await posted(http, stream=streaming)
    (job_id,) = await hand.waiting()
    waiting.cancel()
    await hand.until_canceled(job_id)


class TestPatience:
    """What happens when the setting's time is up."""

    @pytest.fixture
    def app(self, settings: Settings) -> FastAPI:
        return create_app(settings.model_copy(update={"compat_wait_s": 0.2}))

    async def test_a_job_that_takes_too_long_is_cancelled(
        self, http: httpx.AsyncClient, hand: Any
    ) -> None:
        waiting = await posted(http)
        (job_id,) = await hand.waiting()
        answer = await waiting
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timed-out")
        assert await hand.status(job_id) == "canceled"


# -- aliases ---------------------------------------------------------------------------------------


class TestAliases:
    """Models by the names that clients are set to."""

    @pytest.fixture
    def app(self, settings: Settings) -> FastAPI:
        aliases = {"dall-e-3": "shapes-sd"}
        return create_app(settings.model_copy(update={"openai_model_aliases": aliases}))

    async def test_an_alias_names_a_model(self, http: httpx.AsyncClient, hand: Any) -> None:
        waiting = await posted(http, model="dall-e-3")
        job, lease = await hand.take()
        await hand.succeed(job, lease)
        assert (await waiting).status_code == 200
        assert job.request.model == "shapes-sd"

    def test_models_are_listed_as_openai_lists_them(self, client: TestClient) -> None:
        body = client.get("/v1/models").json()
        assert body["object"] == "list"
        assert [each["id"] for each in body["data"]] == ["shapes-sd", "dall-e-3"]
        assert {each["object"] for each in body["data"]} == {"model"}


def test_an_alias_of_no_model_stops_the_start(settings: Settings) -> None:
    aliases = {"dall-e-3": "no-such-model"}
    with pytest.raises(CatalogError, match="no-such-model"):
        create_app(settings.model_copy(update={"openai_model_aliases": aliases}))


# -- streams ---------------------------------------------------------------------------------------


async def events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    name = None
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            told = json.loads(line.removeprefix("data: "))
            assert told.get("type", "error") == name
            yield told


async def streamed(http: httpx.AsyncClient, **fields: Any) -> list[dict[str, Any]]:
    body = {"prompt": PROMPT, "stream": True, **fields}
    async with http.stream("POST", PATH, json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [event async for event in events(answer)]


async def test_a_stream_shows_previews_spread_over_the_steps_and_then_the_pictures(
    http: httpx.AsyncClient, hand: Any
) -> None:
    reading = asyncio.create_task(streamed(http, partial_images=2, steps=30))
    job, lease = await hand.take()
    for step in range(1, 31):
        await hand.preview(lease, 0, step, data=f"{step:04}")
    (content,) = await hand.succeed(job, lease)
    *partial, completed = await reading
    assert [event["type"] for event in partial] == ["image_generation.partial_image"] * 2
    assert [event["partial_image_index"] for event in partial] == [0, 1]
    assert [event["b64_json"] for event in partial] == ["0010", "0020"]
    assert {event["output_format"] for event in partial} == {"webp"}
    assert completed["type"] == "image_generation.completed"
    assert base64.b64decode(completed["b64_json"]) == content
    assert completed["usage"]["total_tokens"] == 0


async def test_a_stream_of_several_pictures_completes_each(
    http: httpx.AsyncClient, hand: Any
) -> None:
    reading = asyncio.create_task(streamed(http, n=3))
    job, lease = await hand.take()
    await hand.preview(lease, 1, 10)
    contents = await hand.succeed(job, lease)
    completed = await reading
    assert [base64.b64decode(event["b64_json"]) for event in completed] == contents


async def test_a_stream_of_a_job_that_fails_ends_with_the_error(
    http: httpx.AsyncClient, hand: Any
) -> None:
    reading = asyncio.create_task(streamed(http))
    _, lease = await hand.take()
    await hand.fail(lease)
    (told,) = await reading
    assert told["error"]["code"] == "job-failed"
    assert "it does not fit" in told["error"]["message"]


def test_a_stream_that_cannot_begin_is_an_ordinary_refusal(client: TestClient) -> None:
    answer = client.post(PATH, json={"prompt": PROMPT, "stream": True, "size": "8x8"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "size")
