"""AUTOMATIC1111's API: pictures on the request itself, progress, and stopping."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.compat.automatic1111.the_rest import EMPTY, IDLE
from jobs.infotext import infotext

API = "/sdapi/v1"
PROMPT = "a red circle on a blue background"
#: What webuiapi, a client of this API, sends with every request, whatever it is asked.
USUAL = {
    "enable_hr": False,
    "hr_scale": 2,
    "hr_upscaler": "Latent",
    "denoising_strength": 0.7,
    "styles": [],
    "subseed": -1,
    "subseed_strength": 0.0,
    "seed_resize_from_h": 0,
    "seed_resize_from_w": 0,
    "restore_faces": False,
    "tiling": False,
    "do_not_save_grid": False,
    "eta": 1.0,
    "s_churn": 0,
    "s_noise": 1,
    "sampler_index": "Euler a",
    "script_name": None,
    "script_args": [],
    "save_images": False,
    "alwayson_scripts": {},
    "override_settings": {},
}


def asking(http: httpx.AsyncClient, **fields: Any) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(http.post(f"{API}/txt2img", json={"prompt": PROMPT, **fields}))


@asynccontextmanager
async def colleague(app: FastAPI, http: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Another caller of the same service, by his address."""
    transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://darkroom") as other:
        yield other


async def test_pictures_come_in_base64_with_how_they_were_made(
    http: httpx.AsyncClient, hand: Any
) -> None:
    asked = {
        **USUAL,
        "negative_prompt": "stars",
        "seed": 5,
        "steps": 12,
        "cfg_scale": 3,
        "width": 64,
        "height": 128,
        "batch_size": 2,
        "n_iter": 2,
        "sampler_name": "Euler a",
    }
    waiting = asking(http, **asked)
    job, lease = await hand.take()
    contents = await hand.succeed(job, lease)
    body = (await waiting).json()
    request, info = job.request, json.loads(body["info"])
    assert [base64.b64decode(image) for image in body["images"]] == contents
    assert (request.width, request.height, request.steps) == (64, 128, 12)
    assert (request.guidance_scale, request.negative_prompt) == (3, "stars")
    assert (request.scheduler, request.seed, request.images) == ("Euler a", 5, 4)
    assert body["parameters"]["n_iter"] == 2
    assert info["all_seeds"] == [5, 6, 7, 8]
    assert info["all_prompts"] == [PROMPT] * 4
    assert info["infotexts"] == [infotext(request, seed) for seed in (5, 6, 7, 8)]
    assert (info["sampler_name"], info["sd_model_name"]) == ("Euler a", "shapes-sd")


async def test_what_is_left_out_or_null_takes_the_model_s_defaults(
    http: httpx.AsyncClient, hand: Any
) -> None:
    waiting = asking(http, seed=-1, steps=None, width=None, sampler_name=None, send_images=False)
    job, lease = await hand.take()
    await hand.succeed(job, lease)
    assert (await waiting).json()["images"] == []
    request = job.request
    assert (request.width, request.height, request.steps) == (64, 64, 20)
    assert (request.scheduler, request.images) == (None, 1)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"enable_hr": True}, ["enable_hr"]),
        ({"init_images": ["AA=="]}, ["init_images"]),
        ({"restore_faces": True}, ["restore_faces"]),
        ({"subseed_strength": 0.3}, ["subseed_strength"]),
        ({"script_name": "X/Y/Z plot"}, ["script_name"]),
        (
            {"alwayson_scripts": {"ControlNet": {"args": [{"image": "AA=="}]}}},
            ["alwayson_scripts", "ControlNet"],
        ),
        ({"prompt": "a cat <lora:cats:0.8>"}, ["prompt"]),
        ({"override_settings": {"sd_vae": "other"}}, ["override_settings", "sd_vae"]),
        (
            {"override_settings": {"CLIP_stop_at_last_layers": 2}},
            ["override_settings", "CLIP_stop_at_last_layers"],
        ),
        (
            {"override_settings": {"sd_model_checkpoint": "gone"}},
            ["override_settings", "sd_model_checkpoint"],
        ),
        ({"sampler_name": "Heun"}, ["sampler_name"]),
        ({"sampler_name": "Euler", "scheduler": "Exponential"}, ["scheduler"]),
        ({"cfg_scale": 21}, ["cfg_scale"]),
        ({"width": 512}, ["width"]),
        ({"batch_size": 4, "n_iter": 5}, ["batch_size"]),
        ({"seed": -2}, ["seed"]),
        ({"prompt": ""}, ["prompt"]),
    ],
)
def test_what_would_change_the_picture_and_cannot_be_done_is_refused_by_name(
    client: TestClient, fields: dict[str, Any], where: list[str]
) -> None:
    answer = client.post(f"{API}/txt2img", json={"prompt": PROMPT, **fields})
    body = answer.json()
    assert answer.status_code == 422
    assert body["detail"][0]["loc"] == ["body", *where]
    assert body["error"] == "invalid-request"
    assert where[-1] in body["errors"]


@pytest.mark.parametrize(
    "fields",
    [
        {"alwayson_scripts": {"ADetailer": {"args": [False, {"enabled": False}]}}},
        {"alwayson_scripts": {"ControlNet": {"args": []}}},
        {"override_settings": {"sd_vae": "Automatic", "CLIP_stop_at_last_layers": 1}},
        {"override_settings": {"sd_model_checkpoint": "None", "samples_format": None}},
        {"a_field_of_an_extension": 7},
    ],
)
async def test_what_asks_for_nothing_is_no_matter(
    http: httpx.AsyncClient, hand: Any, fields: dict[str, Any]
) -> None:
    waiting = asking(http, **fields)
    job, lease = await hand.take()
    await hand.succeed(job, lease)
    assert (await waiting).status_code == 200


async def test_a_failed_job_is_an_error_that_says_why(http: httpx.AsyncClient, hand: Any) -> None:
    waiting = asking(http)
    _, lease = await hand.take()
    await hand.fail(lease)
    answer = await waiting
    assert (answer.status_code, answer.json()["error"]) == (500, "job-failed")
    assert "it does not fit" in answer.json()["detail"]


async def test_the_job_of_a_client_that_leaves_is_cancelled(
    http: httpx.AsyncClient, hand: Any
) -> None:
    waiting = asking(http)
    (job_id,) = await hand.waiting()
    waiting.cancel()
    await hand.until_canceled(job_id)
    assert (await http.get(f"{API}/progress")).json()["state"]["job_count"] == 0


# -- progress, interrupt and skip ------------------------------------------------------------------


async def test_progress_follows_the_caller_s_foremost_request(
    http: httpx.AsyncClient, hand: Any
) -> None:
    idle = (await http.get(f"{API}/progress")).json()
    first = asking(http, steps=20, batch_size=2, force_task_id="mine")
    await hand.waiting()
    queued = (await http.get(f"{API}/progress")).json()
    job, lease = await hand.take()
    second = asking(http)
    await hand.waiting(2)
    await hand.jobs.report(lease, 20)
    await hand.preview(lease, 0, 10, data="UklGRg==")
    running = (await http.get(f"{API}/progress")).json()
    unseen = (await http.get(f"{API}/progress?skip_current_image=true")).json()
    second.cancel()
    await hand.succeed(job, lease)
    await first
    assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0, 0, None)
    assert (queued["progress"], queued["state"]["job_count"]) == (0, 1)
    assert queued["textinfo"].startswith("Waiting")
    assert (running["progress"], running["current_task"]) == (0.5, "mine")
    state = running["state"]
    assert (state["job_count"], state["sampling_step"], state["sampling_steps"]) == (2, 10, 20)
    assert (running["current_image"], unseen["current_image"]) == ("UklGRg==", None)


async def test_interrupt_ends_all_that_the_caller_waits_for_without_pictures(
    http: httpx.AsyncClient, hand: Any
) -> None:
    first, second = asking(http), asking(http)
    await hand.waiting(2)
    job, _ = await hand.take()
    stopped = await http.post(f"{API}/interrupt")
    answers = [await first, await second]
    assert (stopped.status_code, stopped.json()) == (200, {})
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["images"] for answer in answers] == [[], []]
    assert await hand.status(job.id) == "canceled"


async def test_skip_ends_the_foremost_request_only(http: httpx.AsyncClient, hand: Any) -> None:
    asked = [asking(http), asking(http)]
    await hand.waiting(2)
    running, _ = await hand.take()
    assert (await http.post(f"{API}/skip")).json() is None
    await hand.until_canceled(running.id)
    (left,) = await hand.waiting()
    job, lease = await hand.take()
    await hand.succeed(job, lease)
    answers = await asyncio.gather(*asked)
    assert sorted(len(answer.json()["images"]) for answer in answers) == [0, 1]
    assert job.id == left


async def test_callers_at_other_addresses_neither_see_nor_stop_it(
    app: FastAPI, http: httpx.AsyncClient, hand: Any
) -> None:
    waiting = asking(http)
    await hand.waiting()
    async with colleague(app, http) as other:
        seen = (await other.get(f"{API}/progress")).json()
        await other.post(f"{API}/interrupt")
    assert seen["state"]["job_count"] == 0
    job, lease = await hand.take()
    await hand.succeed(job, lease)
    assert len((await waiting).json()["images"]) == 1


# -- options ---------------------------------------------------------------------------------------


async def test_options_are_the_caller_s_own_and_a_request_may_override_them(
    app: FastAPI, http: httpx.AsyncClient, hand: Any
) -> None:
    before = (await http.get(f"{API}/options")).json()
    # Clients post back all they were given.
    changed = await http.post(f"{API}/options", json={**before, "samples_format": "webp"})
    assert (changed.status_code, changed.json()) == (200, None)
    async with colleague(app, http) as other:
        theirs = (await other.get(f"{API}/options")).json()
    formats = []
    for fields in ({}, {"override_settings": {"samples_format": "jpg"}}):
        waiting = asking(http, **fields)
        job, lease = await hand.take()
        await hand.succeed(job, lease)
        await waiting
        formats.append(job.request.output_format)
    assert before["sd_model_checkpoint"] == "shapes-sd"
    assert (await http.get(f"{API}/options")).json()["samples_format"] == "webp"
    assert theirs["samples_format"] == "png"
    assert formats == ["webp", "jpeg"]


@pytest.mark.parametrize(
    "wrong",
    [{"sd_model_checkpoint": "gone"}, {"samples_format": "avif"}, {"sd_vae": "other"}],
)
def test_options_that_cannot_be_had_are_refused(client: TestClient, wrong: dict[str, str]) -> None:
    answer = client.post(f"{API}/options", json=wrong)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", *wrong]


# -- what clients ask for at their start -----------------------------------------------------------


def test_there_are_models_samplers_schedulers_and_memory(client: TestClient) -> None:
    models = client.get(f"{API}/sd-models").json()
    samplers = [each["name"] for each in client.get(f"{API}/samplers").json()]
    schedulers = [each["name"] for each in client.get(f"{API}/schedulers").json()]
    memory = client.get(f"{API}/memory").json()
    assert [model["title"] for model in models] == ["shapes-sd"]
    assert {"Euler a", "DPM++ 2M", "DPM++ 2M Karras"} < set(samplers)
    assert {"automatic", "karras"} < set(schedulers)
    assert memory["ram"]["free"] + memory["ram"]["used"] == memory["ram"]["total"] > 2**28


def test_what_is_not_there_is_answered_validly_and_emptily(client: TestClient) -> None:
    for path, content in EMPTY.items():
        assert client.get(f"{API}/{path}").json() == content
    for path in IDLE:
        assert client.post(f"{API}/{path}").status_code == 200


def test_whatever_else_there_would_be_is_not_found_and_says_so(client: TestClient) -> None:
    answer = client.post(f"{API}/img2img", json={"init_images": ["AA=="]})
    assert answer.status_code == 404
    assert "img2img" in answer.json()["detail"]
