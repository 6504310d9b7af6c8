"""`darkroom-server api` as a process of its own, on the session's stores."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from local.ports import free_port
from local.stack import Stack


@contextmanager
def starting(stores: Stack, **settings: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process, under way, and its port."""
    port = free_port()
    chosen = {f"DARKROOM_{name.upper()}": value for name, value in settings.items()}
    environment = {**os.environ, **stores.environment(), "DARKROOM_PORT": str(port), **chosen}
    process = subprocess.Popen(
        [sys.executable, "-m", "local.command", "api"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, port
    finally:
        process.terminate()
        process.communicate(timeout=30)


def status(process: subprocess.Popen[str], port: int, **headers: str) -> int:
    """What the API answers once it does."""
    while process.poll() is None:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/v1/jobs", headers=headers).status_code
        except httpx.ConnectError:
            continue
    raise AssertionError(process.communicate()[1])
