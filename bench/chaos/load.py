"""The jobs that are submitted meanwhile, and what their clients see of them."""

import asyncio
import itertools
import random
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

PROMPTS = [
    f"a {colour} {shape} on a {ground} background"
    for colour, shape, ground in itertools.product(
        ("red", "green", "blue"), ("circle", "square", "star"), ("white", "black", "yellow")
    )
]
#: Between two tries of a client, and between two of its looks at a job.
RETRY_S, POLL_S = 0.5, 0.5
#: Looks at once.
POLLERS = 16


def requests(count: int, models: tuple[str, ...], rng: random.Random) -> list[dict[str, Any]]:
    """Jobs of one and two images, of every model, each with a seed of its own."""
    return [
        {
            "prompt": rng.choice(PROMPTS),
            "model": models[number % len(models)],
            "images": rng.choice((1, 1, 2)),
            "seed": 10 * number,
        }
        for number in range(count)
    ]


@dataclass
class Load:
    """Submits jobs until each is acknowledged, and watches each until it has ended."""

    url: str
    requests: list[dict[str, Any]]
    #: From each request's number to its job's id, once that was acknowledged.
    acknowledged: dict[int, str] = field(default_factory=dict)
    #: Each finished job as it was first seen to be.
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusals: int = 0
    #: Looks at a job that nobody answered, or with a 503.
    unanswered: int = 0
    #: Seconds until each job was acknowledged, all tries together.
    acknowledged_after_s: list[float] = field(default_factory=list)
    #: Whether connections are used again.
    keeps_alive: bool = True

    async def run(self, duration_s: float) -> None:
        """Submit everything over a while, then wait for the end of all of it."""
        limits = httpx.Limits(max_keepalive_connections=None if self.keeps_alive else 0)
        async with httpx.AsyncClient(base_url=self.url, timeout=10, limits=limits) as http:
            pause_s = duration_s / max(len(self.requests), 1)
            watching = asyncio.create_task(self._watch(http))
            submitting = set()
            for number, request in enumerate(self.requests):
                submitting.add(asyncio.create_task(self._submit(http, number, request)))
                await asyncio.sleep(pause_s)
            await asyncio.gather(*submitting)
            await watching

    async def _submit(self, http: httpx.AsyncClient, number: int, request: dict[str, Any]) -> None:
        """Try under one idempotency key until the service says that it has the job."""
        begun_s = time.monotonic()
        while True:
            try:
                key = {"Idempotency-Key": f"chaos-{number}"}
                answer = await http.post("/v1/jobs", json=request, headers=key)
                if answer.status_code == httpx.codes.ACCEPTED:
                    self.acknowledged[number] = answer.json()["id"]
                    self.acknowledged_after_s.append(time.monotonic() - begun_s)
                    return
                assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
            except httpx.TransportError:
                pass
            self.refusals += 1
            await asyncio.sleep(RETRY_S)

    async def _watch(self, http: httpx.AsyncClient) -> None:
        while len(self.ended) < len(self.requests):
            open_ids = [job_id for job_id in self.acknowledged.values() if job_id not in self.ended]
            for some in _chunks(open_ids):
                await asyncio.gather(*(self._look(http, job_id) for job_id in some))
            await asyncio.sleep(POLL_S)

    async def _look(self, http: httpx.AsyncClient, job_id: str) -> None:
        job = await look(http, job_id)
        self.unanswered += job is None
        if job and job["status"] in ("succeeded", "failed", "canceled"):
            self.ended[job_id] = job


async def look(http: httpx.AsyncClient, job_id: str) -> dict[str, Any] | None:
    """A job, or None while the service cannot say."""
    try:
        answer = await http.get(f"/v1/jobs/{job_id}")
    except httpx.TransportError:
        return None
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return None
    assert answer.is_success, f"an acknowledged job is gone: {job_id}: {answer.text}"
    job: dict[str, Any] = answer.json()
    return job


def _chunks(ids: list[str]) -> list[list[str]]:
    return [ids[begin : begin + POLLERS] for begin in range(0, len(ids), POLLERS)]
