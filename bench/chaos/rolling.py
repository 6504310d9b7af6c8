"""`python -m bench.chaos.rolling`: renews every process in turn under steady load.

As an orchestrator does it: another process is ready before one is told to stop. With `--from` the
first processes run the code of another checkout, so that it is an upgrade.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx

from bench.chaos.audit import examine, percentile
from bench.chaos.balancer import Balancer
from bench.chaos.cluster import LOOK_EVERY_S, Member
from bench.chaos.load import Load, requests
from jobs.settings import Settings
from local.part import Part
from local.ports import free_port
from local.stack import Stack

RESULT = Path(__file__).parent / "rolling.json"
#: How long a process may take to be ready, and to stop.
START_WITHIN_S, STOP_WITHIN_S = 120.0, 60.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many processes there are, and what they are given to do."""

    models: tuple[str, ...] = ("shapes-sd", "shapes-janus")
    apis: int = 2
    workers: int = 2
    jobs: int = 600
    seconds: float = 120.0
    #: The checkout that the first processes run; None is this one.
    start_from: str | None = None
    seed: int = 0


class Fleet:
    """Redis, S3, and several APIs and workers behind one address; use it as a context."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._plan, self._folder = plan, folder
        self._stack = Stack(Settings(port=free_port()), folder, plan.models)
        self._balancer = Balancer(self._stack.settings.port)
        self._source = Path(plan.start_from).resolve() if plan.start_from else None
        self._stores: list[Member] = []
        #: Each running API and worker; an API with its port.
        self._members: list[tuple[Member, int | None]] = []
        self._started = 0
        self.renewed: Counter[str] = Counter()
        #: Of the processes that were told to stop.
        self.exit_codes: Counter[int] = Counter()
        self.able_at: list[float] = []

    @property
    def url(self) -> str:
        return self._stack.url

    @property
    def redis_folder(self) -> Path:
        return self._stack.folder / "redis"

    async def __aenter__(self) -> Self:
        for part in self._stack.stores():
            log = self._folder / f"{part.name}.log"
            self._stores.append(Member(part.name, part, {}, log))
            await _until(part.is_ready)
        await self._balancer.open()
        api, worker = self._stack.services()
        for part in (*[api] * self._plan.apis, *[worker] * self._plan.workers):
            self._members.append(await self._start(part, self._source))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._balancer.close()
        for member, _ in self._members:
            member.end()
        for store in self._stores:
            store.end()
        self._stack.close()

    async def renew(self) -> None:
        """Every API and every worker, in turn."""
        for place, (old, port) in enumerate(list(self._members)):
            self._members[place] = await self._start(old.part)
            if port:
                self._balancer.remove(port)
            old.signal(signal.SIGTERM)
            self.exit_codes[await asyncio.to_thread(old.process.wait, STOP_WITHIN_S)] += 1
            self.renewed[old.part.name] += 1

    async def _start(self, part: Part, source: Path | None = None) -> tuple[Member, int | None]:
        """Another process, once it is ready and, if it is an API, in rotation."""
        self._started += 1
        name = f"{part.name}-{self._started}"
        port = free_port() if part.name == "api" else None
        environment = {"DARKROOM_PORT": str(port)} if port else {}
        member = Member(name, part, environment, self._folder / f"{name}.log", source)

        async def is_ready() -> bool:
            return await _answers(port) if port else member.works

        await _until(is_ready)
        if port:
            self._balancer.add(port)
        return member, port


async def run(plan: Plan, folder: Path) -> dict[str, Any]:
    """Renew for as long as there is load; what became of the jobs, and how long they took."""
    wanted = requests(plan.jobs, plan.models, random.Random(plan.seed))
    async with Fleet(plan, folder) as fleet:
        load = Load(fleet.url, wanted, keeps_alive=False)
        begun_s = time.monotonic()
        loading = asyncio.create_task(load.run(plan.seconds))
        while time.monotonic() - begun_s < plan.seconds:
            await fleet.renew()
        await loading
        own = {
            number: [image["sha256"] for image in load.ended[job_id]["images"]]
            for number, job_id in load.acknowledged.items()
        }
        findings = await examine(fleet, load, [], own)
    told = {name: value for name, value in asdict(findings).items() if "again" not in name}
    took_s = [_took_s(job) for job in load.ended.values()]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "plan": asdict(plan),
        "renewed": dict(fleet.renewed),
        "exit_codes": dict(fleet.exit_codes),
        "acknowledged": len(load.acknowledged),
        "submits_tried_again": load.refusals,
        "looks_unanswered": load.unanswered,
        **told,
        "is_clean": findings.is_clean and not load.refusals and not load.unanswered,
        "submit_p50_ms": _ms(load.acknowledged_after_s, 50),
        "submit_p99_ms": _ms(load.acknowledged_after_s, 99),
        "job_p50_s": percentile(took_s, 50),
        "job_p99_s": percentile(took_s, 99),
    }


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(START_WITHIN_S):
        while not await condition():  # noqa: ASYNC110 (nothing tells us but asking)
            await asyncio.sleep(LOOK_EVERY_S)


async def _answers(port: int) -> bool:
    try:
        async with httpx.AsyncClient() as http:
            return (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success
    except httpx.TransportError:
        return False


def _took_s(job: dict[str, Any]) -> float:
    submitted, ended = (datetime.fromisoformat(job[f"{end}_at"]) for end in ("created", "finished"))
    return (ended - submitted).total_seconds()


def _ms(values_s: list[float], percent: int) -> float | None:
    return percentile([1000 * value for value in values_s], percent)


def main() -> int:
    """Run, print and write; the exit code is 1 when anybody could have noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=Plan.jobs)
    parser.add_argument("--seconds", type=float, default=Plan.seconds)
    parser.add_argument("--apis", type=int, default=Plan.apis)
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--from", dest="start_from", help="another checkout, to upgrade from")
    plan = Plan(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(run(plan, Path(folder)))
    for name, value in result.items():
        print(f"{name:<22} {value}")
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["is_clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
