"""How long an idle stack takes from a job's 202 to its first step, and what idling costs.

`python -m bench.start` starts a stack of its own, submits one job after another, prints a table and
writes `bench/start.json`.
"""

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from darkroom import Darkroom, Job

from local.ports import free_port

JOBS = 300
IDLE_S = 20.0
START_WITHIN_S = 180.0
RESULT = Path(__file__).with_suffix(".json")


def main() -> None:
    """Measure, print and write."""
    with stack() as (url, worker), Darkroom(url) as darkroom:
        waits_ms = [start_ms(darkroom) for _ in range(JOBS)]
        worker.cpu_percent()
        time.sleep(IDLE_S)
        idle_percent = worker.cpu_percent()
    percentiles = statistics.quantiles(waits_ms, n=100)
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "jobs": JOBS,
        "submit_to_running_p50_ms": percentiles[49],
        "submit_to_running_p99_ms": percentiles[98],
        "idle_worker_percent_of_a_core": idle_percent,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    for name, value in result.items():
        print(f"{name:<32} {value}")


def start_ms(darkroom: Darkroom) -> float:
    """Submit a job of one step and see it through; from its record to its lease, in ms."""
    job = darkroom.wait(darkroom.submit("a red circle", steps=1, model="shapes-sd"))
    return elapsed_ms(job)


def elapsed_ms(job: Job) -> float:
    assert job.started_at is not None, job
    created, started = (datetime.fromisoformat(at) for at in (job.created_at, job.started_at))
    return (started - created).total_seconds() * 1000


@contextmanager
def stack() -> Iterator[tuple[str, psutil.Process]]:
    """A stack on a free port: its address, and its worker's process."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "local.command", "up", "--folder", f"{folder}/var"],
            env={**os.environ, "DARKROOM_PORT": str(port)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + START_WITHIN_S
            while "Darkroom is at" not in Path(log.name).read_text():
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(Path(log.name).read_text())
                time.sleep(0.1)
            (worker,) = (
                child
                for child in psutil.Process(server.pid).children(recursive=True)
                if "-m worker" in " ".join(child.cmdline())
            )
            yield f"http://127.0.0.1:{port}", worker
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


if __name__ == "__main__":
    main()
