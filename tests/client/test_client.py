"""The client against the real application, and its types against the service's description."""

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from darkroom import (
    Darkroom,
    Failure,
    Fault,
    Image,
    Job,
    JobFailedError,
    Model,
    Progress,
    QueuePlace,
    RefusedError,
    UnreachableError,
)

from api.app import create_app
from jobs.settings import Settings
from local.ports import free_port

PROMPT = "a red circle on a blue background"


@pytest.fixture
def darkroom(settings: Settings, redis: object) -> Iterator[Darkroom]:
    """A client of a real server, on a real port."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), port=port, log_config=None, ws="none")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    with Darkroom(f"http://127.0.0.1:{port}") as client:
        while not server.started:
            assert thread.is_alive()
        yield client
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Job, "Job"),
        (Image, "Image"),
        (Progress, "Progress"),
        (QueuePlace, "QueuePlace"),
        (Failure, "Failure"),
        (Fault, "Fault"),
        (Model, "Model"),
    ],
)
def test_the_client_s_types_are_the_service_s(settings: Settings, ours: type, theirs: str) -> None:
    schemas = create_app(settings).openapi()["components"]["schemas"]
    fields = {field.name for field in dataclasses.fields(ours)}
    assert fields == set(schemas[theirs]["properties"])


def test_submitting_looking_and_cancelling(darkroom: Darkroom) -> None:
    job = darkroom.submit(PROMPT, seed=7, images=2)
    assert (job.status, job.request["seed"], job.finished) == ("queued", 7, False)
    assert job.queue == QueuePlace(position=0, workers=0)
    assert darkroom.get(job.id) == job
    assert darkroom.cancel(job.id).status == "canceled"


def test_waiting_tells_of_changes_and_ends_with_the_job(darkroom: Darkroom) -> None:
    job = darkroom.submit(PROMPT)
    seen: list[str] = []

    def note(job: Job) -> None:
        seen.append(job.status)
        if job.status == "queued":
            darkroom.cancel(job.id)

    assert darkroom.wait(job, on_change=note, poll_s=0.01).status == "canceled"
    assert seen == ["queued", "canceled"]


def test_generating_raises_when_there_will_be_no_picture(darkroom: Darkroom) -> None:
    def stop(job: Job) -> None:
        darkroom.cancel(job.id)

    with pytest.raises(JobFailedError, match="it was canceled"):
        darkroom.generate(PROMPT, on_change=stop)


def test_a_refusal_names_the_fields(darkroom: Darkroom) -> None:
    with pytest.raises(RefusedError, match="steps") as refused:
        darkroom.submit(PROMPT, steps=0)
    assert (refused.value.status, refused.value.kind) == (422, "invalid-request")
    assert [(fault.field, fault.limit) for fault in refused.value.errors] == [("steps", 1)]


def test_models_are_listed(darkroom: Darkroom) -> None:
    assert [model.name for model in darkroom.models()] == ["shapes-sd"]


def test_a_service_that_is_not_there_is_named() -> None:
    with (
        Darkroom("http://127.0.0.1:1") as nowhere,
        pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:1"),
    ):
        nowhere.models()


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "darkroom", "generate", PROMPT, "--url", "http://127.0.0.1:1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "darkroom: nothing answers at http://127.0.0.1:1 (ConnectError)\n"


def test_the_client_needs_nothing_of_the_service() -> None:
    program = (
        "import sys, darkroom\n"
        "ours = {'api', 'jobs', 'local', 'pipelines', 'worker', 'pydantic'} & set(sys.modules)\n"
        "assert not ours, ours"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
