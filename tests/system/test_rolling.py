"""The short form of `make bench-rolling`: every process is renewed under real jobs."""

import asyncio
from pathlib import Path

import pytest

from bench.chaos.rolling import Plan, run

pytestmark = [pytest.mark.system, pytest.mark.slow]


def test_nobody_notices_that_every_process_is_renewed(tmp_path: Path) -> None:
    plan = Plan(models=("shapes-sd",), apis=1, workers=1, jobs=40, seconds=10)
    result = asyncio.run(run(plan, tmp_path))
    assert result["acknowledged"] == plan.jobs
    assert result["renewed"].keys() == {"api", "worker"}
    assert result["is_clean"], result
