"""The short form of `make chaos`: real processes are killed and paused under real jobs."""

import asyncio
from pathlib import Path

import pytest

from bench.chaos.__main__ import Plan, run

pytestmark = [pytest.mark.system, pytest.mark.slow]


def test_whatever_dies_every_acknowledged_job_ends_once_with_its_pictures(tmp_path: Path) -> None:
    plan = Plan(
        models=("shapes-sd",),
        jobs=30,
        kills=6,
        workers=2,
        interval_s=(2.0, 4.0),
        lease_s=2.0,
        seed=20261125,
    )
    result = asyncio.run(run(plan, tmp_path))
    assert result["acknowledged"] == plan.jobs
    assert sum(result["kills"].values()) == plan.kills
    assert result["is_clean"], result
