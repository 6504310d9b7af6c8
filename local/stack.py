"""The parts of the local stack, and the folder that their state survives in."""

import asyncio
import fcntl
import json
import os
import secrets
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import httpx
from arq.connections import ArqRedis
from pydantic import SecretStr

from jobs import queue
from jobs.connection import connect
from jobs.settings import Settings
from local import programs
from local.errors import StackError
from local.part import Part
from local.ports import free_port, require_free

#: Redis refuses writes on a full disk; it is kinder to say so before anything starts.
LEAST_FREE_BYTES = 200 * 1024 * 1024
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """What the local servers ask for; made once, and kept where only their owner reads."""

    redis_password: str
    s3_access_key: str
    s3_secret_key: str

    @classmethod
    def kept_in(cls, path: Path) -> Self:
        if path.exists():
            return cls(**json.loads(path.read_text()))
        made = cls(
            redis_password=secrets.token_hex(24),
            s3_access_key=secrets.token_hex(10),
            s3_secret_key=secrets.token_hex(24),
        )
        _write_private(path, json.dumps(vars(made)))
        return made


class Stack:
    """Redis, S3, API and worker, with all state under one folder."""

    def __init__(self, settings: Settings, folder: Path, models: tuple[str, ...]) -> None:
        """
        Raises:
            StackError: the port is taken, the disk is full, or the folder is in use.
        """
        self.settings = settings
        self.folder = folder.resolve()
        self.models = models
        self.url = f"http://{settings.host}:{settings.port}"
        for name in ("redis", f"s3/{settings.s3_bucket}"):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        _require_room(self.folder)
        self._lock = _lock(self.folder / "lock", self.url)
        try:
            require_free(settings.host, settings.port)
        except StackError:
            self.close()
            raise
        self._secrets = Secrets.kept_in(self.folder / "secrets.json")
        self._redis_port, self._s3_port = free_port(), free_port()

    def close(self) -> None:
        """Let the folder go."""
        self._lock.close()

    def stores(self) -> tuple[Part, ...]:
        """What the others need before they start."""
        lines = (
            f"export {name}={shlex.quote(text)}\n" for name, text in self.environment().items()
        )
        # Lets other commands find this stack: `. var/stack.env`, then `darkroom-server keys ...`.
        _write_private(self.folder / "stack.env", "".join(lines))
        return self._redis(), self._s3()

    def services(self) -> tuple[Part, ...]:
        """The API and the worker."""
        return self._api(), self._worker()

    def environment(self) -> dict[str, str]:
        """How API and worker find the stores, as settings."""
        settings = self.settings
        password = self._secrets.redis_password
        return {
            "DARKROOM_REDIS_URL": f"redis://:{password}@{LOOPBACK}:{self._redis_port}/0",
            "DARKROOM_S3_ENDPOINT": f"http://{LOOPBACK}:{self._s3_port}",
            "DARKROOM_S3_ACCESS_KEY": self._secrets.s3_access_key,
            "DARKROOM_S3_SECRET_KEY": self._secrets.s3_secret_key,
            "DARKROOM_MODELS": ",".join(self.models),
            "DARKROOM_OUTBOX": str(self.folder / "outbox"),
            "DARKROOM_PORT": str(settings.port),
            "DARKROOM_HOST": settings.host,
            "PYTHONUNBUFFERED": "1",
        }

    def _connection(self) -> ArqRedis:
        url = SecretStr(self.environment()["DARKROOM_REDIS_URL"])
        return connect(self.settings.model_copy(update={"redis_url": url}))

    def _redis(self) -> Part:
        configuration = self.folder / "redis" / "redis.conf"
        log = configuration.with_suffix(".log")
        _write_private(
            configuration,
            "\n".join(
                (
                    f"bind {LOOPBACK}",
                    f"port {self._redis_port}",
                    f"requirepass {self._secrets.redis_password}",
                    f'dir "{configuration.parent}"',
                    "appendonly yes",
                    # With "everysec" the last second of acknowledged jobs may go with the power.
                    "appendfsync always",
                    "maxmemory-policy noeviction",
                    'save ""',
                    f'logfile "{log}"',
                    "",
                )
            ),
        )

        async def ready() -> bool:
            async with self._connection() as redis:
                return bool(await redis.ping())

        return Part(
            name="redis",
            command=(programs.redis_server(), str(configuration)),
            ready=ready,
            hint=f"its log is {log}",
        )

    def _s3(self) -> Part:
        async def ready() -> bool:
            _, writer = await asyncio.open_connection(LOOPBACK, self._s3_port)
            writer.close()
            await writer.wait_closed()
            return True

        command = (
            *(programs.rclone(), "serve", "s3", str(self.folder / "s3")),
            *("--addr", f"{LOOPBACK}:{self._s3_port}"),
            # No configuration of the user's own may reach into this server.
            *("--config", "", "--log-level", "ERROR"),
        )
        key = f'"{self._secrets.s3_access_key},{self._secrets.s3_secret_key}"'
        return Part(name="s3", command=command, environment={"RCLONE_AUTH_KEY": key}, ready=ready)

    def _api(self) -> Part:
        async def ready() -> bool:
            async with httpx.AsyncClient() as http:
                return (await http.get(f"{self.url}/readyz")).is_success

        return Part(
            name="api",
            command=(sys.executable, "-m", "local.command", "api"),
            environment=self.environment(),
            ready=ready,
        )

    def _worker(self) -> Part:
        async def ready() -> bool:
            # Not by the API, which may want a key.
            async with self._connection() as redis:
                return all((await queue.workers(redis, list(self.models))).values())

        return Part(
            name="worker",
            command=(sys.executable, "-m", "local.command", "worker"),
            environment=self.environment(),
            ready=ready,
            # A real model's weights take their time from a slow disk.
            ready_within_s=900.0,
            stop_within_s=self.settings.drain_s + 15.0,
        )


def _require_room(folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < LEAST_FREE_BYTES:
        raise StackError(
            f"the disk of {folder} is full: {free_bytes // 2**20} MiB are free, "
            f"{LEAST_FREE_BYTES // 2**20} MiB are needed"
        )


def _lock(path: Path, url: str) -> IO[str]:
    """Hold a folder for as long as the answer lives."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with file:
            file.seek(0)
            raise StackError(f"a stack runs from {path.parent} already: {file.read()}") from None
    file.truncate(0)
    file.write(url)
    file.flush()
    return file


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
