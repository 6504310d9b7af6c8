"""The running API against its own description: whatever is sent, the answer is a documented one.

`make fuzz` does the same with many more requests.
"""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from arq.connections import ArqRedis
from played_worker import PlayedWorker

from jobs import keys
from jobs.errors import JobError
from jobs.settings import Settings
from jobs.storage import PictureStore
from jobs.store import JobStore

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
#: Requests for each operation and phase, at most; a whole run takes seconds with these.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3"))
LONGEST_S = float(os.environ.get("FUZZ_LONGEST_S", "100"))
#: A run that says less has not reached the API.
FEWEST_CASES = 500


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"models": ("shapes-sd", "shapes-janus")})


@pytest.fixture
async def worker(
    http: httpx.AsyncClient, store: JobStore, pictures: PictureStore, redis: ArqRedis
) -> AsyncIterator[None]:
    """Ends every job of every model as soon as it is there."""
    played = PlayedWorker(store, pictures, redis)

    async def work() -> None:
        while True:
            for model in ("shapes-sd", "shapes-janus"):
                for job_id in await redis.zrange(keys.queue(model), 0, 20):
                    # Whoever submitted it may stop or forget it meanwhile.
                    with contextlib.suppress(JobError, AssertionError):
                        await played.develop(await store.get(job_id.decode()))
            await asyncio.sleep(0.01)

    working = asyncio.create_task(work())
    yield
    assert not working.done(), working
    working.cancel()


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
async def test_every_answer_is_a_documented_one(http: httpx.AsyncClient, tmp_path: Path) -> None:
    fuzzing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
        *("run", f"{http.base_url}/openapi.json", "--checks", "all"),
        *("--max-examples", str(EXAMPLES), "--continue-on-failure", "--no-shrink"),
        *("--request-timeout", "70", "--warnings", "off"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LONGEST_S):
            output, _ = await fuzzing.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            fuzzing.kill()
    told = output.decode()
    summary = told[told.find("= SUMMARY =") :]
    print(summary)
    assert fuzzing.returncode == 0, told
    found = re.search(r"(\d+) generated", summary)
    assert found is not None, told
    assert int(found[1]) >= FEWEST_CASES
