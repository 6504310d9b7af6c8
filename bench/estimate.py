"""How true the estimates are: what a job was told when it was submitted, and when it was ready.

`python -m bench.estimate` starts a stack of its own, keeps it under a steady load of mixed jobs for
a while, prints a table and writes `bench/estimate.json`.
"""

import json
import os
import platform
import random
import statistics
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from darkroom import Darkroom

from bench.start import stack

SEED = 5
SECONDS = 180.0
#: Jobs that teach the estimate; their own is not counted.
WARM_UP = 20
#: How many jobs are under way or in line at any time.
CLIENTS = 48
STEPS = (10, 20, 30, 40)
RESULT = Path(__file__).with_suffix(".json")


class Client(threading.Thread):
    """Submits one job after another, and notes what it was told and what came true."""

    def __init__(self, url: str, seed: int, until: float, told: list[tuple[float, float]]) -> None:
        super().__init__()
        self._url, self._rng, self._until, self._told = url, random.Random(seed), until, told

    def run(self) -> None:
        with Darkroom(self._url) as darkroom:
            while time.monotonic() < self._until:
                steps = self._rng.choice(STEPS)
                begun = time.monotonic()
                job = darkroom.submit("a red circle", steps=steps, model="shapes-sd")
                expected = job.estimate
                darkroom.wait(job)
                if expected:
                    self._told.append((expected.eta_s, time.monotonic() - begun))


def measure() -> dict[str, Any]:
    told: list[tuple[float, float]] = []
    with stack() as (url, _):
        until = time.monotonic() + SECONDS
        clients = [Client(url, SEED + number, until, told) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    counted = told[WARM_UP:]
    errors = [abs(eta_s - took_s) / took_s for eta_s, took_s in counted]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, clients included",
        "jobs": len(counted),
        "median_eta_s": round(statistics.median(eta_s for eta_s, _ in counted), 1),
        "median_took_s": round(statistics.median(took_s for _, took_s in counted), 1),
        "median_error": round(statistics.median(errors), 3),
        "p90_error": round(statistics.quantiles(errors, n=10)[8], 3),
    }


def main() -> None:
    """Measure, print and write."""
    result = measure()
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    for name, value in result.items():
        print(f"{name:<16} {value}")


if __name__ == "__main__":
    main()
