"""What the stack needs of the machine, and what it leaves on it."""

import socket
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from jobs.settings import Settings
from local import programs
from local.errors import StackError
from local.ports import free_port, require_free
from local.stack import Stack


def test_a_taken_port_is_named() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} of 127.0.0.1 cannot be used"):
            require_free("127.0.0.1", port)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.stack.LEAST_FREE_BYTES", 2**62)
    with pytest.raises(StackError, match=r"the disk of .* is full: \d+ MiB are free"):
        Stack(Settings(port=free_port()), tmp_path, ("shapes-sd",))


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    kept = []
    for _ in range(2):
        stack = Stack(Settings(port=free_port()), tmp_path, ("shapes-sd",))
        stack.stores()
        kept.append((tmp_path / "secrets.json").read_text())
        stack.close()
    assert kept[0] == kept[1]
    for name in ("secrets.json", "redis/redis.conf", "stack.env"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_shell_that_reads_it_in_finds_the_stack(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    stack = Stack(Settings(port=free_port()), folder, ("shapes-sd",))
    stack.stores()
    stack.close()
    shown = subprocess.run(
        ["sh", "-c", '. "$1" && env', "sh", str(folder / "stack.env")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name, text in stack.environment().items():
        assert f"{name}={text}\n" in shown


def test_no_secret_stands_in_a_command_line(tmp_path: Path) -> None:
    stack = Stack(Settings(port=free_port()), tmp_path, ("shapes-sd",))
    secrets = (stack.environment()["DARKROOM_S3_SECRET_KEY"], stack._secrets.redis_password)
    for part in (*stack.stores(), *stack.services()):
        for word in part.command:
            assert not any(secret in word for secret in secrets), part.name
    stack.close()


def test_everything_listens_on_loopback_alone(tmp_path: Path) -> None:
    stack = Stack(Settings(port=free_port()), tmp_path, ("shapes-sd",))
    redis, s3 = stack.stores()
    assert "bind 127.0.0.1" in Path(redis.command[1]).read_text()
    assert any(word.startswith("127.0.0.1:") for word in s3.command)
    assert stack.environment()["DARKROOM_HOST"] == "127.0.0.1"
    stack.close()


def test_redis_comes_from_the_environment_when_the_path_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    carried = Path(programs.redis_server())
    assert carried.is_file()
    assert carried.parent != tmp_path


def test_a_redis_of_the_path_is_used_only_when_it_is_new_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    server = tmp_path / "redis-server"
    for version, is_used in (("5.0.7", False), ("7.2.4", True)):
        server.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
        server.chmod(0o755)
        assert (programs.redis_server() == str(server)) is is_used
