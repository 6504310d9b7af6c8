"""The whole stack on loopback, where nobody needs a key, and on another address, where all do."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = pytest.mark.system

Until = Callable[[Callable[[], bool], float], None]


def key_made_on(folder: Path) -> str:
    """A key, made as docs/keys.md says."""
    script = '. "$1" && "$2" -m local.command keys create --tenant ann'
    return subprocess.check_output(
        ["sh", "-c", script, "sh", str(folder / "stack.env"), sys.executable], text=True
    ).strip()


def test_a_fresh_stack_listens_on_loopback_alone(service: Any) -> None:
    listening = {
        connection.laddr.ip
        for process in psutil.Process(service.process.pid).children(recursive=True)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_on_another_address_it_wants_keys_and_serves_their_holders(
    stack: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    def jobs(key: str = "") -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.get(f"{stack.url}/v1/jobs", headers=headers).status_code

    monkeypatch.setenv("DARKROOM_HOST", "0.0.0.0")
    stack.start()
    until(lambda: stack.process.poll() is not None, 60)
    assert stack.process.returncode == 1
    assert "DARKROOM_ALLOW_ANONYMOUS=true" in stack.log
    assert "darkroom-server keys create" in stack.log

    monkeypatch.delenv("DARKROOM_HOST")
    stack.start()
    stack.wait_until_ready()
    assert jobs() == 200
    key = key_made_on(stack.folder / "var")
    assert stack.stop() == 0

    monkeypatch.setenv("DARKROOM_HOST", "0.0.0.0")
    stack.start()
    until(lambda: "Darkroom is at http://0.0.0.0" in stack.log, 120)
    assert (jobs(), jobs(key)) == (401, 200)
    picture = subprocess.run(
        [sys.executable, "-m", "darkroom", "generate", "a red circle", "--url", stack.url],
        cwd=stack.folder,
        env={**os.environ, "DARKROOM_API_KEY": key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert picture.returncode == 0, picture.stderr
    assert key not in stack.log
