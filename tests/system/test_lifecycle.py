"""Starting, stopping and failing: nothing is left behind, nothing is lost."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import psutil
import pytest

pytestmark = [pytest.mark.system, pytest.mark.slow]

Until = Callable[[Callable[[], bool], float], None]
PROMPT = {"prompt": "a red circle on a blue background", "seed": 3}


def family(stack: Any) -> list[psutil.Process]:
    return psutil.Process(stack.process.pid).children(recursive=True)


def is_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() for process in processes)


def test_a_stop_from_outside_leaves_no_process_and_no_port(stack: Any) -> None:
    stack.start()
    stack.wait_until_ready()
    children = family(stack)
    assert len(children) == 4
    assert stack.stop(signal.SIGTERM) == 0, stack.log
    assert is_gone(children)
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", stack.port))


def test_a_killed_supervisor_takes_its_parts_along(stack: Any, until: Until) -> None:
    stack.start()
    stack.wait_until_ready()
    children = family(stack)
    stack.process.kill()
    stack.process.wait()
    until(lambda: is_gone(children), 30)


@pytest.mark.parametrize("name", ["redis", "worker"])
def test_a_part_that_dies_stops_the_stack_and_is_named(stack: Any, name: str) -> None:
    stack.start()
    stack.wait_until_ready()
    children = family(stack)
    stack.part(name).kill()
    assert stack.process.wait(timeout=60) == 1
    assert f"darkroom-server: {name} ended by itself (signal SIGKILL)" in stack.log
    assert is_gone(children)


def test_ctrl_c_leaves_no_process_and_a_restart_finds_every_job_and_picture(
    stack: Any, until: Until
) -> None:
    stack.start()
    stack.wait_until_ready()
    locations = [
        httpx.post(f"{stack.url}/v1/jobs", json={**PROMPT, "steps": 100}).headers["location"]
        for _ in range(3)
    ]
    children = family(stack)
    assert stack.stop(signal.SIGINT) == 0, stack.log
    assert is_gone(children)
    stack.start()
    stack.wait_until_ready()

    def all_finished() -> bool:
        jobs = [httpx.get(stack.url + location).json() for location in locations]
        return all(job["status"] == "succeeded" for job in jobs)

    until(all_finished, 60)
    for location in locations:
        (image,) = httpx.get(stack.url + location).json()["images"]
        assert len(httpx.get(image["url"]).content) == image["size_bytes"]


def test_a_port_in_use_is_one_clear_line(stack: Any) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", stack.port))
        taken.listen()
        stack.start()
        assert stack.process.wait(timeout=60) == 1
    assert stack.log.splitlines() == [
        f"darkroom-server: port {stack.port} of 127.0.0.1 cannot be used (Address already in use); "
        f"choose another, as in: make run PORT={stack.port + 1}"
    ]


def test_a_wrong_setting_is_one_clear_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.command", "up"],
        env={"DARKROOM_LEASE_S": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "darkroom-server: DARKROOM_LEASE_S: Input should be greater than or equal to 1"
    ]


def test_a_model_that_is_not_in_the_catalogue_is_one_clear_line(stack: Any) -> None:
    stack.start("--model", "dall-e")
    assert stack.process.wait(timeout=60) == 1
    assert "no model 'dall-e' in the catalogue; there are: shapes-sd" in stack.log
    assert "Traceback" not in stack.log
