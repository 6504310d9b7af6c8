"""The API against a bare FastAPI app that echoes the same bodies, and two thousand waiting clients.

`python -m bench.api` starts Redis, one API process and one process of the bare app, drives both
with the same client in the same run, prints a table and writes `bench/api.json`.
"""

import asyncio
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from jobs.connection import connect
from jobs.settings import Settings
from jobs.store import JobStore
from local.part import Part
from local.ports import free_port
from local.stack import Stack

CONNECTIONS = 64
SECONDS = 6.0
ROUNDS = 3
WAITERS = 2_000
ENDED = 500
BODY = {"prompt": "a red circle on a blue background", "seed": 7, "steps": 20}
RESULT = Path(__file__).with_suffix(".json")

BARE = """
import sys, uvicorn
from fastapi import FastAPI
from jobs.model import Job, JobRequest
app = FastAPI()
job = Job.model_validate_json(sys.argv[2])

@app.post("/v1/jobs", status_code=202)
async def submit(request: JobRequest) -> JobRequest:
    return request

@app.get("/v1/jobs/{job_id}")
async def show(job_id: str) -> Job:
    return job

uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False)
"""


class Connection:
    """One client: HTTP/1.1 with keep-alive and nothing else, so that it is not what is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        _, _, rest = head.lower().partition(b"content-length: ")
        length = int(rest.split(b"\r\n", 1)[0]) if rest else 0
        return int(head[9:12]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


async def rate(port: int, request: bytes) -> float:
    """Answers a second, over a few connections at once."""
    until, answered = time.perf_counter() + SECONDS, 0

    async def client() -> None:
        nonlocal answered
        connection = await Connection.open(port)
        while time.perf_counter() < until:
            status, _ = await connection.ask(request)
            assert status in (200, 202), status
            answered += 1
        connection.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return answered / SECONDS


async def wake_ups_ms(port: int, store: JobStore) -> list[float]:
    """From the call that ends a job to its waiter's answer, while two thousand wait."""
    submitting = await Connection.open(port)
    ids = []
    for _ in range(WAITERS):
        _, body = await submitting.ask(post("/v1/jobs", BODY))
        ids.append(json.loads(body)["id"])
    ended_at: dict[str, float] = {}
    taken: list[float] = []

    async def wait(job_id: str) -> None:
        connection = await Connection.open(port)
        _, body = await connection.ask(get(f"/v1/jobs/{job_id}?wait=60"))
        if job_id in ended_at:
            assert json.loads(body)["status"] == "canceled"
            taken.append((time.perf_counter() - ended_at[job_id]) * 1000)
        connection.close()

    waiting = [asyncio.create_task(wait(job_id)) for job_id in ids]
    await asyncio.sleep(10)
    assert not any(task.done() for task in waiting)
    for job_id in ids[::4][:ENDED]:
        ended_at[job_id] = time.perf_counter()
        await store.cancel(job_id)
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    assert len(taken) == ENDED, f"only {len(taken)} waiters of {ENDED} were told"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return taken


@asynccontextmanager
async def services() -> AsyncIterator[tuple[int, int, JobStore, str]]:
    """The API's port, the bare app's, the store behind the API, and the id of a waiting job."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Settings(port=free_port()), Path(folder), ("shapes-sd",))
        running = []
        environment = {**os.environ, **stack.environment(), "DARKROOM_LOG_LEVEL": "WARNING"}
        environment["DARKROOM_QUEUE_MAX_JOBS"] = str(10**6)
        api, _ = stack.services()
        for part in (*stack.stores(), api):
            running.append(
                _start(list(part.command), {**environment, **part.environment, **environment})
            )
            await _until_ready(part)
        settings = Settings(redis_url=SecretStr(stack.environment()["DARKROOM_REDIS_URL"]))
        redis = connect(settings)
        connection = await Connection.open(stack.settings.port)
        _, job = await connection.ask(post("/v1/jobs", BODY))
        bare_port = free_port()
        running.append(
            _start([sys.executable, "-c", BARE, str(bare_port), job.decode()], environment)
        )
        await _until(lambda: _answers(bare_port))
        try:
            yield stack.settings.port, bare_port, JobStore(redis, settings), json.loads(job)["id"]
        finally:
            await redis.aclose()
            for process in reversed(running):
                process.send_signal(signal.SIGTERM)
                process.wait()
            stack.close()


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


async def _until_ready(part: Part) -> None:
    while not await part.is_ready():  # noqa: ASYNC110 (nothing tells us but asking)
        await asyncio.sleep(0.05)


async def _until(condition: Callable[[], Any]) -> None:
    while not await condition():  # noqa: ASYNC110 (nothing tells us but asking)
        await asyncio.sleep(0.05)


async def _answers(port: int) -> bool:
    try:
        (await Connection.open(port)).close()
    except OSError:
        return False
    return True


async def measure() -> dict[str, Any]:
    async with services() as (port, bare_port, store, job_id):
        requests = {"submit": post("/v1/jobs", BODY), "poll": get(f"/v1/jobs/{job_id}")}
        rates: dict[str, list[float]] = {
            f"{name}{of}": [] for name in requests for of in ("", "_bare")
        }
        for _ in range(ROUNDS):
            for name, request in requests.items():
                rates[name].append(await rate(port, request))
                rates[f"{name}_bare"].append(await rate(bare_port, request))
        taken = statistics.quantiles(await wake_ups_ms(port, store), n=100)
    per_s = {f"{name}_per_s": round(statistics.median(found)) for name, found in rates.items()}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, client included",
        **per_s,
        "submit_ratio": round(per_s["submit_per_s"] / per_s["submit_bare_per_s"], 2),
        "poll_ratio": round(per_s["poll_per_s"] / per_s["poll_bare_per_s"], 2),
        "connections": CONNECTIONS,
        "waiters": WAITERS,
        "wake_up_p50_ms": round(taken[49], 1),
        "wake_up_p99_ms": round(taken[98], 1),
    }


def main() -> None:
    """Measure, print and write."""
    result = asyncio.run(measure())
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    for name, value in result.items():
        print(f"{name:<20} {value}")


if __name__ == "__main__":
    main()
