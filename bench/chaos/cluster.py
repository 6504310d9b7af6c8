"""A stack whose processes are started again when they die, as an orchestrator would do it."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from jobs.settings import Settings
from local.part import Part
from local.ports import free_port
from local.stack import Stack

#: Between two looks at whether a process lives.
LOOK_EVERY_S = 0.1


class Member:
    """One process of the cluster, in as many lives as it takes."""

    def __init__(
        self,
        name: str,
        part: Part,
        environment: Mapping[str, str],
        log: Path,
        source: Path | None = None,
    ) -> None:
        """
        Args:
            source: the checkout whose code it runs; None is this one.
        """
        self.name, self.part, self._log, self._source = name, part, log, source
        path = {"PYTHONPATH": f"{source}:{source}/client"} if source else {}
        self._environment = {**os.environ, **part.environment, **environment, **path}
        self.is_paused = False
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            self._log_begins = log.tell()
            return subprocess.Popen(
                self.part.command,
                env=self._environment,
                cwd=self._source,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def works(self) -> bool:
        """Whether it lives, is not paused, and, if it is a worker, has loaded its models."""
        if self.process.poll() is not None or self.is_paused:
            return False
        with self._log.open("rb") as log:
            log.seek(self._log_begins)
            return self.part.name != "worker" or b"ready on" in log.read()

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def revive(self) -> None:
        """Start it again if it is dead."""
        if self.process.poll() is not None:
            self.process = self._start()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class Cluster:
    """Redis, S3, an API and some workers on this machine; use it as a context."""

    def __init__(
        self, folder: Path, models: tuple[str, ...], workers: int, environment: Mapping[str, str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._stack = Stack(Settings(port=free_port()), folder, models)
        self._folder, self._workers, self._environment = folder, workers, environment
        self.members: list[Member] = []
        self._keeper: asyncio.Task[None] | None = None
        #: Unix times at which Redis worked, and a worker to take a job.
        self.able_at: list[float] = []

    @property
    def url(self) -> str:
        return self._stack.url

    @property
    def redis_url(self) -> SecretStr:
        return SecretStr(self._stack.environment()["DARKROOM_REDIS_URL"])

    @property
    def redis_folder(self) -> Path:
        return self._stack.folder / "redis"

    async def __aenter__(self) -> Self:
        api, worker = self._stack.services()
        await self._add(*self._stack.stores())
        await self._add(api)
        await self._add(*[worker] * self._workers)
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeper:
            self._keeper.cancel()
        for member in reversed(self.members):
            member.end()
        self._stack.close()

    async def _add(self, *parts: Part) -> None:
        for part in parts:
            number = sum(member.part.name == part.name for member in self.members)
            name = f"{part.name}-{number}"
            log = self._folder / f"{name}.log"
            self.members.append(Member(name, part, self._environment, log))
        for part in parts:
            async with asyncio.timeout(300):
                while not await part.is_ready():  # noqa: ASYNC110 (nothing tells us but asking)
                    await asyncio.sleep(LOOK_EVERY_S)

    async def calm(self) -> None:
        """Until every process works again that was killed last."""
        async with asyncio.timeout(300):
            for member in self.members:
                while not (member.works and await member.part.is_ready()):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_EVERY_S)

    async def _keep(self) -> None:
        while True:
            for member in self.members:
                member.revive()
            if {"redis", "worker"} <= {member.part.name for member in self.members if member.works}:
                self.able_at.append(time.time())
            await asyncio.sleep(LOOK_EVERY_S)
