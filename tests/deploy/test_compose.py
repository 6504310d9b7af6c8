"""The compose file: by its specification, by its rules, and by its own stores run for real."""

import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from redis.exceptions import AuthenticationError

from jobs import checks
from jobs.connection import connect
from jobs.errors import StoreUnavailableError
from jobs.settings import Settings
from jobs.storage import PictureStore
from local import programs
from local.ports import free_port
from local.stack import Stack

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "compose"
FILES = ("compose.yaml", "compose.gpu.yaml")
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: Mapping[str, Any] = COMPOSE["services"]
OURS = ("api", "worker")
START_WITHIN_S = 30

each_service = pytest.mark.parametrize("name", SERVICES)


@pytest.mark.parametrize("file", FILES)
def test_each_file_obeys_the_specification(file: str) -> None:
    parsed(yaml.safe_load((FOLDER / file).read_text()))


def test_the_linter_finds_nothing_grave() -> None:
    lint = Path(sys.executable).with_name("compose-lint")
    done = subprocess.run(
        [lint, "check", "--fail-on", "high", FOLDER / "compose.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_all_that_a_service_names_is_there() -> None:
    parsed(COMPOSE).validate()
    made = re.findall(r"^key (\S+)", (FOLDER / "keys.sh").read_text(), re.MULTILINE)
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (FOLDER / source).exists() or source[2:] in made, source


@each_service
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    # Our own images say so themselves.
    assert name in OURS or int(service["user"].partition(":")[0]) > 0


@each_service
def test_a_service_is_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("127.0.0.1:")


@each_service
def test_a_secret_comes_from_the_file_of_secrets(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|SECRET|AUTH|_KEY", variable):
            assert re.fullmatch(r"\$\{\w+(:\?.*)?\}", value), variable
        assert not re.search(r"://[^$]*:[^$]*@", str(value)), variable


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_one(name: str) -> None:
    for variable in SERVICES[name]["environment"]:
        assert variable.removeprefix("DARKROOM_").lower() in Settings.model_fields, variable


def test_a_worker_may_drain_before_it_is_killed() -> None:
    grace_s = float(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings().drain_s


def test_the_api_listens_where_it_is_published() -> None:
    (port,) = SERVICES["api"]["ports"]
    assert port.endswith(f":{Settings().port}")


def test_a_gpu_is_reserved_by_the_override_alone() -> None:
    override = yaml.safe_load((FOLDER / "compose.gpu.yaml").read_text())
    worker = override["services"]["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert worker["build"]["args"] != SERVICES["worker"]["build"]["args"]
    assert "deploy" not in SERVICES["worker"]


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    script = shutil.copy(FOLDER / "secrets.sh", tmp_path)
    made = tmp_path / ".env"
    contents = set()
    for _ in range(2):
        subprocess.run([script], check=True)
        contents.add(made.read_text())
    (content,) = contents
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    required = set(re.findall(r"\$\{(\w+):\?", (FOLDER / "compose.yaml").read_text()))
    values = dict(line.split("=") for line in content.splitlines())
    assert values.keys() == required
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in values.values())
    assert len(set(values.values())) == len(values)


def test_the_keys_that_it_starts_with_can_be_made(stores: Stack, tmp_path: Path) -> None:
    made = (FOLDER / "keys.sh").read_text()
    for command in re.findall(r"^key \S+ (.*)$", made, re.MULTILINE):
        done = subprocess.run(
            [sys.executable, "-m", "local.command", "keys", "create", *shlex.split(command)],
            env={**os.environ, **stores.environment()},
            capture_output=True,
            text=True,
            check=True,
        )
        assert re.fullmatch(r"dk_[\w-]+\n", done.stdout)


async def test_redis_as_it_is_started_keeps_all_it_is_told(tmp_path: Path) -> None:
    shell, option, script = SERVICES["redis"]["command"]
    (tmp_path / "redis-server").symlink_to(programs.redis_server())
    port = free_port()
    script = script.replace("/etc/redis.conf", str(FOLDER / "redis.conf")).replace("$$", "$")
    script = script.replace("<<END\n", f"<<END\nbind 127.0.0.1\nport {port}\n")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PASSWORD": "of chance"}
    address = f"127.0.0.1:{port}/0"
    with running([shell, option, script], environment, tmp_path):
        wait_for(lambda: _listens(port))
        async with connect(Settings(redis_url=f"redis://:of%20chance@{address}")) as redis:
            assert await checks.redis_warnings(redis) == []
        async with connect(Settings(redis_url=f"redis://{address}")) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()


@pytest.mark.slow
def test_s3_as_it_is_started_has_a_closed_bucket(tmp_path: Path) -> None:
    port = free_port()
    ports = [f"-{part}.port={free_port()}" for part in ("master", "volume", "filer")]
    command = [
        *(str(Path(sys.executable).with_name("weed")), *SERVICES["s3"]["command"]),
        *(f"-dir={tmp_path}", "-ip.bind=127.0.0.1", f"-s3.port={port}", *ports),
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "S3_BUCKET": COMPOSE["x-settings"]["DARKROOM_S3_BUCKET"],
        "AWS_ACCESS_KEY_ID": "ours",
        "AWS_SECRET_ACCESS_KEY": "of chance",
    }
    pictures = PictureStore(
        Settings(
            s3_endpoint=f"http://127.0.0.1:{port}",
            s3_public_endpoint=f"http://localhost:{port}",
            s3_access_key="ours",
            s3_secret_key="of chance",
        )
    )
    with running(command, environment, tmp_path):
        wait_for(lambda: _is_there(pictures))
        assert checks.bucket_warnings(pictures) == []


def parsed(compose: Any) -> PyCompose:
    """What the specification makes of a file, its anchors resolved and its variables filled in.

    Raises:
        ValueError: the file does not obey it.
    """
    filled = re.sub(r"\$\{\w+(?::-([^}]*))?[^}]*\}", r"\1", yaml.safe_dump(compose))
    return PyCompose.from_yaml(filled)


@contextmanager
def running(command: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    """A server of the compose file, in a folder of its own, for the length of a block."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield
    except BaseException:
        print(log.read_text())
        raise
    finally:
        process.kill()
        process.wait(timeout=10)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _is_there(pictures: PictureStore) -> bool:
    try:
        pictures.check()
    except StoreUnavailableError:
        return False
    return True
