"""What a fleet is limited by: `python -m bench.fleet`, or `make bench-fleet`.

Runs the whole stack with one, two and four real workers on the model that ships, and counts what
each job costs Redis, the API, S3 and the workers. Then `bench.backlog`: what a long queue costs.
Prints tables and writes `bench/fleet.json`.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench import backlog
from bench.chaos.cluster import Cluster
from jobs.connection import connect
from jobs.settings import Settings

WORKERS = (1, 2, 4)
MODEL = "shapes-sd"
#: Seconds in which nobody asks for anything, to see what waiting costs.
IDLE_S = 5.0
RESULT = Path(__file__).with_suffix(".json")


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a stack has used up so far."""

    at_s: float
    #: Commands to Redis, those inside scripts included.
    redis_commands: int
    #: Processor seconds, by part.
    cpu_s: dict[str, float]

    @classmethod
    async def by(cls, cluster: Cluster) -> "Spent":
        redis = connect(Settings(redis_url=cluster.redis_url))
        commands = (await redis.info("stats"))["total_commands_processed"]
        await redis.aclose()
        cpu_s: dict[str, float] = {}
        for member in cluster.members:
            times = psutil.Process(member.pid).cpu_times()
            cpu_s[member.part.name] = cpu_s.get(member.part.name, 0) + times.user + times.system
        return cls(at_s=time.monotonic(), redis_commands=int(commands), cpu_s=cpu_s)


@dataclass(frozen=True, kw_only=True)
class Row:
    """How so many workers fare."""

    workers: int
    jobs_per_s: float
    redis_commands_per_job: float
    idle_redis_commands_per_s: float
    #: Processor milliseconds that a job costs each part.
    cpu_ms_per_job: dict[str, float]
    #: Cores that each part kept busy.
    cores: dict[str, float]

    @property
    def jobs_per_core_s(self) -> dict[str, float]:
        """How many jobs a second one core of each part could carry."""
        return {part: round(1000 / ms, 1) for part, ms in self.cpu_ms_per_job.items() if ms}


async def measure(jobs: int) -> dict[str, Any]:
    """A row for each number of workers, then the rows of `bench.backlog`."""
    rows = []
    for workers in WORKERS:
        with tempfile.TemporaryDirectory() as folder:
            async with Cluster(Path(folder), (MODEL,), workers, {}) as cluster:
                rows.append(await _row(cluster, workers, jobs))
        print(_line(rows[-1]), flush=True)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "jobs": jobs,
        "workers": [{**asdict(row), "jobs_per_core_s": row.jobs_per_core_s} for row in rows],
        "backlog": (await backlog.measure())["rows"],
    }


async def _row(cluster: Cluster, workers: int, jobs: int) -> Row:
    async with httpx.AsyncClient(base_url=cluster.url, timeout=60) as http:
        # The first jobs of a worker fill its caches.
        await _develop(http, 8 * workers)
        rested = await Spent.by(cluster)
        await asyncio.sleep(IDLE_S)
        begun = await Spent.by(cluster)
        await _develop(http, jobs)
        ended = await Spent.by(cluster)
    took_s = ended.at_s - begun.at_s
    used_s = {part: ended.cpu_s[part] - begun.cpu_s[part] for part in ended.cpu_s}
    idle = (begun.redis_commands - rested.redis_commands) / (begun.at_s - rested.at_s)
    return Row(
        workers=workers,
        jobs_per_s=round(jobs / took_s, 2),
        redis_commands_per_job=round((ended.redis_commands - begun.redis_commands) / jobs, 1),
        idle_redis_commands_per_s=round(idle, 1),
        cpu_ms_per_job={part: round(1000 * spent / jobs, 2) for part, spent in used_s.items()},
        cores={part: round(spent / took_s, 3) for part, spent in used_s.items()},
    )


async def _develop(http: httpx.AsyncClient, jobs: int) -> None:
    """Jobs from their submission, one by one as clients do it, to the end of the last."""
    body = {"prompt": "a red circle on a blue background", "model": MODEL}
    answers = await asyncio.gather(*(http.post("/v1/jobs", json=body) for _ in range(jobs)))
    for answer in answers:
        job = answer.json()
        while job["status"] in ("queued", "running"):
            job = (await http.get(f"/v1/jobs/{job['id']}?wait=60")).json()
        assert job["status"] == "succeeded", job


def _line(row: Row) -> str:
    cores = ", ".join(f"{part} {share}" for part, share in row.cores.items())
    return (
        f"{row.workers} workers: {row.jobs_per_s} jobs/s, {row.redis_commands_per_job} Redis "
        f"commands a job, {row.idle_redis_commands_per_s}/s at rest; cores: {cores}; a core "
        f"could carry, in jobs/s: {row.jobs_per_core_s}"
    )


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=400)
    result = asyncio.run(measure(parser.parse_args().jobs))
    for row in result["backlog"]:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
