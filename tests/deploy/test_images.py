"""The images, as far as they can be built and run without a container engine."""

import re
import signal
import time
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
from dockerfile_parse import DockerfileParser
from scratch_build import ScratchBuild, Stage

from api.app import create_app
from jobs.settings import Settings
from local.ports import free_port
from local.stack import Stack
from worker.monitor import Monitor

REPOSITORY = Path(__file__).parent.parent.parent
DOCKERFILE = REPOSITORY / "deploy" / "images" / "Dockerfile"
STRUCTURE = DockerfileParser(str(DOCKERFILE)).structure
START_WITHIN_S = 30


def lines(instruction: str) -> list[str]:
    return [line["value"] for line in STRUCTURE if line["instruction"] == instruction]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> ScratchBuild:
    return ScratchBuild(DOCKERFILE, REPOSITORY, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def image(build: ScratchBuild) -> Stage:
    """The API image, every RUN of it executed."""
    return build.build("api")


@pytest.mark.slow
def test_the_api_image_builds_and_serves(
    build: ScratchBuild, image: Stage, stores: Stack, settings: Settings
) -> None:
    port = free_port()
    process = build.run(image, environment={**stores.environment(), "DARKROOM_PORT": str(port)})
    try:
        deadline = time.monotonic() + START_WITHIN_S
        while not _is_ready(port):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        names = {
            model["name"]
            for model in httpx.get(f"http://127.0.0.1:{port}/v1/models").json()["models"]
        }
        assert names == set(stores.models)
    finally:
        process.terminate()
        process.communicate(timeout=10)
    # uvicorn ends in order, and then passes on to itself what it was told.
    assert process.returncode == -signal.SIGTERM


@pytest.mark.slow
def test_the_api_image_has_no_torch_and_the_command_tells_what_it_lacks(
    build: ScratchBuild, image: Stage
) -> None:
    found = build.run(
        image, "python", "-c", "import importlib.util as u; print(u.find_spec('torch'))"
    )
    assert found.communicate()[0] == "None\n"
    up = build.run(image, "darkroom-server", "up")
    assert "install darkroom-server[local]" in up.communicate()[0]


@pytest.mark.slow
def test_the_api_image_holds_its_scripts_and_pages_and_no_weights(image: Stage) -> None:
    app = image.root / "opt/darkroom/app"
    for folder, kind in (("jobs/lua", "*.lua"), ("api/page", "*")):
        ours = {file.name for file in (REPOSITORY / folder).glob(kind) if file.is_file()}
        assert ours <= {file.name for file in (app / folder).iterdir()}
    assert not list(app.rglob("*.safetensors"))


def test_every_image_runs_as_a_numbered_user_that_is_not_root() -> None:
    """Kubernetes cannot tell that a user by name is not root."""
    user = {}
    for line in STRUCTURE:
        if line["instruction"] == "FROM":
            words = line["value"].split()
            base, name = words[0], words[-1]
            user[name] = user.get(base, "0")
        elif line["instruction"] == "USER":
            user[name] = line["value"]
    for target in ("api", "worker", "baked"):
        number, _, group = user[target].partition(":")
        assert int(number) >= 10_000
        assert int(group) >= 10_000


def test_bases_are_pinned_and_every_package_comes_by_the_lock_file() -> None:
    (python,) = [value for value in lines("ARG") if value.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=\d+\.\d+\.\d+-slim-[a-z]+", python)
    for run in lines("RUN"):
        for install in re.findall(r"pip install .*?(?=&&|$)", run):
            assert re.search(r"--(build-)?constraint requirements\.lock", install), install


def test_the_context_lets_in_exactly_what_is_copied() -> None:
    copied = {
        source for value in lines("COPY") if "--from" not in value for source in value.split()[:-1]
    }
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert "*" in ignored


def test_no_secret_is_baked_in() -> None:
    for value in (*lines("ENV"), *lines("ARG")):
        assert not re.search(r"(SECRET|PASSWORD|TOKEN|_KEY)\w*=", value)


def test_health_checks_ask_what_answers(settings: Settings) -> None:
    asked = dict(re.findall(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", "".join(lines("HEALTHCHECK"))))
    assert asked.keys() == set(lines("EXPOSE"))
    api = asked.pop(str(Settings().port))
    assert api in create_app(settings).openapi()["paths"]
    ((port, worker),) = asked.items()
    assert f"DARKROOM_WORKER_METRICS_PORT={port}" in "".join(lines("ENV"))
    monitor = Monitor(take_stock=lambda: None, is_hung=lambda: False)
    assert monitor.answer(worker)[0] is HTTPStatus.OK


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").is_success
    except httpx.TransportError:
        return False
