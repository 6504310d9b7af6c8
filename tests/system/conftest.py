"""The whole stack as a user starts it: one command, real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from receiver import SECRET, Receiver, receiving

from local.ports import free_port

REPOSITORY = Path(__file__).parent.parent.parent
START_WITHIN_S = 120.0


@dataclass
class Running:
    """A `darkroom-server up` under way."""

    folder: Path
    port: int = field(default_factory=free_port)
    #: Further settings.
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    #: Where in the log the latest start begins.
    read_from: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self, *options: str) -> None:
        with (self.folder / "log").open("a") as log:
            self.read_from = log.tell()
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "local.command", "up"),
                    *("--folder", str(self.folder / "var"), *options),
                ],
                cwd=REPOSITORY,
                env={
                    **os.environ,
                    "DARKROOM_PORT": str(self.port),
                    "DARKROOM_LEASE_S": "2",
                    **self.environment,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            return f"Darkroom is at {self.url}" in self.log[self.read_from :]

        wait_for(ready, START_WITHIN_S)

    def part(self, name: str) -> psutil.Process:
        """The process of one part, told by its command line."""
        marks = {"redis": "redis-server", "s3": "serve s3", "api": "-m api", "worker": "-m worker"}
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if marks[name] in " ".join(child.cmdline()):
                return child
        raise LookupError(name)

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        """Stop it as Ctrl-C does; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(by)
        return self.process.wait(timeout=60)


def wait_for(condition: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], bool], float], None]:
    return wait_for


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Running]:
    """A stack of the test's own, not started yet."""
    running = Running(tmp_path)
    yield running
    if running.process is not None:
        running.stop()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stack that all tests of the session share; none of them may harm it."""
    running = Running(tmp_path_factory.mktemp("service"))
    running.start()
    running.wait_until_ready()
    yield running
    assert running.stop() == 0, running.log


@dataclass
class Observed:
    """A stack, and those who watch it."""

    running: Running
    #: Takes traces, webhooks and analytics alike.
    receiver: Receiver
    #: Where the worker tells of itself.
    worker_port: int


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A stack that is watched in every way there is."""
    with receiving() as receiver:
        origin, worker_port = f"http://127.0.0.1:{receiver.port}", free_port()
        running = Running(
            tmp_path_factory.mktemp("observed"),
            environment={
                "OTEL_EXPORTER_OTLP_ENDPOINT": origin,
                "OTEL_BSP_SCHEDULE_DELAY": "200",
                "DARKROOM_ANALYTICS_HOST": origin,
                "DARKROOM_ANALYTICS_KEY": "phc_of_the_tests",
                "DARKROOM_LOG_FORMAT": "json",
                "DARKROOM_WORKER_METRICS_PORT": str(worker_port),
                "DARKROOM_WEBHOOK_SECRET": SECRET,
                "DARKROOM_WEBHOOK_ALLOW": "127.0.0.0/8",
            },
        )
        running.start()
        running.wait_until_ready()
        yield Observed(running, receiver, worker_port)
        assert running.stop() == 0, running.log
