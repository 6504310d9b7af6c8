"""Clients of a service that wants keys: what they send, and what they tell of a refusal."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from both_clients import Client
from darkroom import AsyncDarkroom, Darkroom, RefusedError
from darkroom.command.exits import ExitCode
from key_holders import holder

from jobs.access.model import Scope
from jobs.settings import Settings

PROMPT = "a red circle"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings under which everybody needs a key."""
    return settings.model_copy(update={"allow_anonymous": False})


async def told(port: int, folder: Path, key: str, *words: str) -> tuple[int, str]:
    """The command's exit code and complaint."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "darkroom", *words),
        cwd=folder,
        env={
            **os.environ,
            "DARKROOM_URL": f"http://127.0.0.1:{port}",
            "DARKROOM_API_KEY": key,
        },
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        _, complaint = await process.communicate()
    assert process.returncode is not None
    return process.returncode, complaint.decode()


async def test_both_clients_send_the_key_and_raise_what_it_is_refused_for(
    kind: type[Darkroom | AsyncDarkroom], port: int, redis: ArqRedis
) -> None:
    url = f"http://127.0.0.1:{port}"
    ann = await holder(redis, limits={"jobs_per_minute": 1})
    reader = await holder(redis, scopes={Scope.JOBS_READ})

    async def call(key: str | None, method: str, *arguments: object) -> Any:
        client = Client(kind(url, key, retries=0))
        try:
            return await client.call(method, *arguments)
        finally:
            await client.close()

    job = await call(ann.text, "submit", PROMPT)
    assert (await call(reader.text, "get", job)).id == job.id
    for key, status, word in (
        (None, 401, "unauthenticated"),
        ("dk_nonsense", 401, "unauthenticated"),
        (reader.text, 403, "forbidden"),
        (ann.text, 429, "quota-exceeded"),
    ):
        with pytest.raises(RefusedError) as refused:
            await call(key, "submit", PROMPT)
        assert (refused.value.status, refused.value.kind) == (status, word)
        assert str(key) not in str(refused.value)
    assert refused.value.retry_after_s is not None


async def test_the_command_says_what_to_do(port: int, tmp_path: Path, redis: ArqRedis) -> None:
    ann = await holder(redis, limits={"jobs_per_minute": 1})
    reader = await holder(redis, scopes={Scope.JOBS_READ})
    assert await told(port, tmp_path, ann.text, "submit", PROMPT) == (ExitCode.OK, "")
    for key, advice in (
        ("", "set DARKROOM_API_KEY, or keep a key with `darkroom config --key`"),
        (reader.text, "lacks the scope jobs:write"),
        (ann.text, "limited to 1 jobs per minute; try again in"),
    ):
        code, complaint = await told(port, tmp_path, key, "submit", PROMPT)
        assert code == ExitCode.REFUSED
        assert advice in complaint
        assert len(complaint.splitlines()) == 1
