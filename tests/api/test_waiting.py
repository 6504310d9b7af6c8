"""Held answers, and events that survive cuts: a real server, and a worker's part played by hand."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from arq.connections import ArqRedis

from jobs import events, keys
from jobs.events import EventKind
from jobs.lease import Lease
from jobs.model import Image
from jobs.store import JobStore

BODY = {"prompt": "a red circle", "model": "shapes-sd", "steps": 20}
MODEL, WORKER = "shapes-sd", "here:1:abc"
IMAGE = Image(
    index=0, seed=7, width=64, height=64, content_type="image/png", size_bytes=3, sha256="0" * 64
)


async def submitted(http: httpx.AsyncClient) -> str:
    return str((await http.post("/v1/jobs", json=BODY)).json()["id"])


async def claimed(store: JobStore, job_id: str) -> Lease:
    answer = await store.claim(job_id, MODEL, WORKER)
    assert answer is not None
    return answer[1]


async def soon(redis: ArqRedis, job_id: str, watchers: int = 1) -> None:
    """Until so many watch a job."""
    async with asyncio.timeout(10):
        while (await redis.pubsub_numsub(keys.changes(job_id)))[0][1] < watchers:
            await asyncio.sleep(0.01)


async def test_a_held_poll_answers_as_soon_as_the_status_changes(
    http: httpx.AsyncClient, store: JobStore, redis: ArqRedis
) -> None:
    job_id = await submitted(http)
    polling = asyncio.create_task(http.get(f"/v1/jobs/{job_id}?wait=50"))
    await soon(redis, job_id)
    assert not polling.done()
    await store.claim(job_id, MODEL, WORKER)
    async with asyncio.timeout(5):
        assert (await polling).json()["status"] == "running"


async def test_a_held_poll_lets_go_when_its_time_is_up(http: httpx.AsyncClient) -> None:
    job_id = await submitted(http)
    async with asyncio.timeout(10):
        answer = await http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "respond-async, wait=1"})
    assert answer.json()["status"] == "queued"
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_submit_that_waits_answers_with_the_finished_job(
    http: httpx.AsyncClient, store: JobStore, redis: ArqRedis
) -> None:
    submitting = asyncio.create_task(
        http.post("/v1/jobs", json=BODY, headers={"Prefer": "wait=50"})
    )
    async with asyncio.timeout(10):
        while not (line := await redis.zrange(keys.queue(MODEL), 0, 0)):
            await asyncio.sleep(0.01)
    await soon(redis, line[0].decode())
    await store.succeed(await claimed(store, line[0].decode()), [IMAGE])
    answer = await submitting
    assert answer.status_code == 200
    assert answer.json()["images"][0]["url"]


async def test_a_submit_whose_wait_was_too_short_is_a_202(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/jobs?wait=0.2", json=BODY)
    assert answer.status_code == 202
    assert answer.headers["location"].endswith(answer.json()["id"])


async def test_an_unchanged_job_is_a_304_and_a_held_one_waits_for_any_change(
    http: httpx.AsyncClient, store: JobStore, redis: ArqRedis
) -> None:
    job_id = await submitted(http)
    lease = await claimed(store, job_id)
    tag = (await http.get(f"/v1/jobs/{job_id}")).headers["etag"]
    known = {"If-None-Match": tag}
    same = await http.get(f"/v1/jobs/{job_id}", headers=known)
    assert (same.status_code, same.content) == (304, b"")
    polling = asyncio.create_task(http.get(f"/v1/jobs/{job_id}?wait=50", headers=known))
    await soon(redis, job_id)
    await store.report(lease, 5)
    changed = await polling
    assert changed.status_code == 200
    assert changed.json()["progress"]["step"] == 5
    assert changed.headers["etag"] != tag


async def test_hundreds_wait_over_one_connection_and_all_are_told(
    http: httpx.AsyncClient, store: JobStore, redis: ArqRedis
) -> None:
    job_id = await submitted(http)
    limits = httpx.Limits(max_connections=400)
    async with httpx.AsyncClient(base_url=http.base_url, limits=limits, timeout=60) as crowd:
        waiting = [asyncio.create_task(crowd.get(f"/v1/jobs/{job_id}?wait=50")) for _ in range(300)]
        await soon(redis, job_id)
        subscribers = int((await redis.info("clients"))["connected_clients"])
        await store.cancel(job_id)
        answers = await asyncio.gather(*waiting)
    assert {answer.json()["status"] for answer in answers} == {"canceled"}
    assert subscribers < 100


async def test_deleting_a_job_stops_it_and_leaves_nothing(
    http: httpx.AsyncClient, redis: ArqRedis
) -> None:
    job_id = await submitted(http)
    assert (await http.delete(f"/v1/jobs/{job_id}")).status_code == 204
    assert (await http.get(f"/v1/jobs/{job_id}")).status_code == 404
    assert (await http.delete(f"/v1/jobs/{job_id}")).status_code == 404
    assert not await redis.keys(f"*{job_id}*")
    assert await redis.zcard(keys.queue(MODEL)) == 0


# -- events ----------------------------------------------------------------------------------------


async def sse(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    """Events as a browser reads them (WHATWG HTML, 9.2.6)."""
    event: dict[str, Any] = {}
    async for line in lines:
        if not line:
            if event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            event[name] = value.removeprefix(" ")


async def read(
    http: httpx.AsyncClient, job_id: str, after: str | None = None, most: int = 10**6
) -> list[dict[str, Any]]:
    """Read events until the end, or until so many were read and the reader is cut off."""
    headers = {"Last-Event-ID": after} if after else {}
    found: list[dict[str, Any]] = []
    async with http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        async for event in sse(answer.aiter_lines()):
            found.append(event)
            if len(found) >= most:
                break
    return found


async def play(
    store: JobStore, job_id: str, steps: int, pause: Callable[[], Awaitable[None]]
) -> None:
    """What a worker tells of a job."""
    lease = await claimed(store, job_id)
    for step in range(1, steps + 1):
        await store.report(lease, step)
        if step % 5 == 0:
            await store.emit(lease, EventKind.PREVIEW, json.dumps({"index": 0, "data": "AA=="}))
        await pause()
    await store.emit(lease, EventKind.IMAGE, IMAGE.model_dump_json(exclude={"url"}))
    await store.succeed(lease, [IMAGE])


async def test_a_watcher_sees_a_job_from_its_place_in_line_to_its_end(
    http: httpx.AsyncClient, store: JobStore, redis: ArqRedis
) -> None:
    job_id = await submitted(http)
    reading = asyncio.create_task(read(http, job_id))
    await soon(redis, job_id)
    await asyncio.sleep(0.1)
    await play(store, job_id, 5, lambda: asyncio.sleep(0.01))
    seen = await reading
    kinds = [event["event"] for event in seen]
    assert kinds == ["queued", "running", *["progress"] * 5, "preview", "image", "end"]
    assert json.loads(seen[0]["data"]) == {"position": 0, "workers": 0, "eta_s": None}
    progress = json.loads(seen[6]["data"])
    # A quarter of one image, in well under ten seconds.
    assert progress.pop("images_per_s") > 0.025
    assert progress == {"step": 5, "steps": 20}
    assert json.loads(seen[-2]["data"])["url"].startswith("http")
    end = json.loads(seen[-1]["data"])
    assert (end["id"], end["status"]) == (job_id, "succeeded")
    assert end["images"][0]["url"]


async def test_a_reader_that_is_cut_again_and_again_sees_every_event_exactly_once(
    http: httpx.AsyncClient, store: JobStore, redis: ArqRedis
) -> None:
    rng = random.Random(11)
    job_id = await submitted(http)
    playing = asyncio.create_task(
        play(store, job_id, 200, lambda: asyncio.sleep(rng.uniform(0, 0.01)))
    )
    seen: list[dict[str, Any]] = []
    cuts = 0
    while not seen or seen[-1]["event"] != "end":
        after = next((event["id"] for event in reversed(seen) if "id" in event), None)
        seen += await read(http, job_id, after, most=rng.randint(1, 6))
        cuts += 1
    await playing
    assert cuts > 30
    told = [event["id"] for event in seen if "id" in event]
    stream = [entry.id for entry in await events.read(redis, job_id, count=10_000)]
    assert told == stream


async def test_who_has_seen_the_end_is_told_to_stop(
    http: httpx.AsyncClient, store: JobStore
) -> None:
    job_id = await submitted(http)
    await store.cancel(job_id)
    (end,) = await read(http, job_id)
    headers = {"Last-Event-ID": end["id"]}
    answer = await http.get(f"/v1/jobs/{job_id}/events", headers=headers)
    assert answer.status_code == 204


async def test_a_job_whose_events_are_forgotten_still_tells_its_end(
    http: httpx.AsyncClient, store: JobStore, redis: ArqRedis
) -> None:
    job_id = await submitted(http)
    await store.cancel(job_id)
    await redis.delete(keys.events(job_id))
    (end,) = await read(http, job_id)
    assert json.loads(end["data"])["status"] == "canceled"
    headers = {"Last-Event-ID": end["id"]}
    answer = await http.get(f"/v1/jobs/{job_id}/events", headers=headers)
    assert answer.status_code == 204


async def test_previews_are_kept_for_nobody_who_does_not_watch(
    http: httpx.AsyncClient, store: JobStore, redis: ArqRedis
) -> None:
    job_id = await submitted(http)
    await play(store, job_id, 10, lambda: asyncio.sleep(0))
    kinds = {event.kind for event in await events.read(redis, job_id)}
    assert EventKind.PREVIEW not in kinds
    assert EventKind.IMAGE in kinds


@pytest.mark.parametrize("last", ["nonsense", "1-", "-1", "1-1-1"])
async def test_a_last_event_id_that_is_none_of_ours_is_refused(
    http: httpx.AsyncClient, last: str
) -> None:
    job_id = await submitted(http)
    answer = await http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": last})
    assert answer.status_code == 422


async def test_the_events_of_an_unknown_job_are_not_found(http: httpx.AsyncClient) -> None:
    assert (await http.get(f"/v1/jobs/{'0' * 32}/events")).status_code == 404
