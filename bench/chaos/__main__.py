"""`python -m bench.chaos`: kills processes of a working stack and says what that has cost.

An undisturbed run of the same jobs comes first; every picture must be the same, bit for bit.
"""

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.chaos.audit import Findings, digests, examine, percentile
from bench.chaos.cluster import Cluster
from bench.chaos.disturbance import Disturbance
from bench.chaos.load import Load, requests

RESULT = Path(__file__).parent / "chaos.json"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How hard it gets."""

    models: tuple[str, ...]
    jobs: int = 500
    kills: int = 50
    workers: int = 3
    interval_s: tuple[float, float] = (2.0, 6.0)
    lease_s: float = 10.0
    seed: int = 0

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DARKROOM_LEASE_S": str(self.lease_s),
            # These kills are no fault of the jobs.
            "DARKROOM_MAX_ATTEMPTS": "50",
        }


async def run(plan: Plan, folder: Path) -> dict[str, Any]:
    """Both runs; what was found, with everything that tells how."""
    rng = random.Random(plan.seed)
    wanted = requests(plan.jobs, plan.models, rng)
    expected = await _undisturbed(plan, folder / "undisturbed", wanted)
    disturbance = Disturbance(
        rng=rng,
        kills_wanted=plan.kills,
        interval_s=plan.interval_s,
        pause_s=1.3 * plan.lease_s,
    )
    duration_s = plan.kills * sum(plan.interval_s) / 2
    begun = time.monotonic()
    async with Cluster(
        folder / "disturbed", plan.models, plan.workers, plan.environment
    ) as cluster:
        load = Load(cluster.url, wanted)
        await asyncio.gather(load.run(duration_s), disturbance.run(cluster))
        took_s = time.monotonic() - begun
        await cluster.calm()
        findings = await examine(cluster, load, disturbance.kills, expected)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "plan": asdict(plan),
        "kills": disturbance.count(),
        "pauses": disturbance.pauses,
        "seconds": round(took_s),
        "acknowledged": len(load.acknowledged),
        "refused_and_tried_again": load.refusals,
        **_told(findings),
    }


async def _undisturbed(
    plan: Plan, folder: Path, wanted: list[dict[str, Any]]
) -> dict[int, list[str]]:
    """The pictures' digests, by the number of the request, when nobody does any harm."""
    async with Cluster(folder, plan.models, 1, plan.environment) as cluster:
        load = Load(cluster.url, wanted)
        await load.run(0)
        async with httpx.AsyncClient(base_url=cluster.url, timeout=30) as http:
            found = {
                number: await digests(http, (await http.get(f"/v1/jobs/{job_id}")).json())
                for number, job_id in load.acknowledged.items()
            }
    return {number: [digest or "missing" for digest in each] for number, each in found.items()}


def _told(findings: Findings) -> dict[str, Any]:
    told = asdict(findings)
    again, able = told.pop("again_after_s"), told.pop("again_able_s")
    return {
        **told,
        "is_clean": findings.is_clean,
        "jobs_started_again": len(again),
        "again_after_p50_s": percentile(again, 50),
        "again_after_p99_s": percentile(again, 99),
        # Without the time in which no worker or no Redis was there.
        "again_able_p50_s": percentile(able, 50),
        "again_able_p99_s": percentile(able, 99),
    }


def main() -> int:
    """Run, print and write; the exit code is 1 when anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=Plan.jobs)
    parser.add_argument("--kills", type=int, default=Plan.kills)
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--models", default="shapes-sd,shapes-janus", help="by comma")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    chosen = vars(parser.parse_args())
    plan = Plan(**{**chosen, "models": tuple(chosen["models"].split(","))})
    print(
        f"seed {plan.seed}: {plan.jobs} jobs, {plan.kills} kills, {plan.workers} workers",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(run(plan, Path(folder)))
    for name, value in result.items():
        print(f"{name:<26} {value}")
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["is_clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
