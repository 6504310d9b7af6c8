"""The command as a user runs it: a process of its own, against a real server."""

import asyncio
import json
import os
import pty
import signal
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from arq.connections import ArqRedis
from darkroom import AsyncDarkroom, Job, config
from darkroom.command.exits import ExitCode
from PIL import Image, PngImagePlugin
from played_worker import PICTURE, PREVIEW, PlayedWorker

from jobs.model import AdmittedRequest
from jobs.settings import Settings
from pipelines.catalog import Catalog
from worker.encoding import encode
from worker.making import making_of

PROMPT = "a red circle on a blue background"


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass
class Command:
    """`darkroom`, in a folder of the test's own."""

    url: str
    folder: Path

    async def start(self, *words: str, **pipes: int) -> asyncio.subprocess.Process:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "darkroom", *words),
            cwd=self.folder,
            env={**os.environ, "DARKROOM_URL": self.url},
            **{**streams, **pipes},
        )

    async def run(self, *words: str, typed: str = "") -> Done:
        return await self.end(await self.start(*words), typed)

    async def end(self, process: asyncio.subprocess.Process, typed: str = "") -> Done:
        async with asyncio.timeout(60):
            out, err = await process.communicate(typed.encode())
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode() if err else "")


@pytest.fixture
def command(port: int, tmp_path: Path) -> Command:
    return Command(f"http://127.0.0.1:{port}", tmp_path)


async def first_job(url: str) -> Job:
    """The job that a command has submitted, once it has."""
    async with AsyncDarkroom(url) as client, asyncio.timeout(60):
        while True:
            async for job in client.jobs(limit=1):
                return job
            await asyncio.sleep(0.01)


async def test_generate_tells_of_progress_aside_and_prints_the_paths(
    command: Command, worker: PlayedWorker
) -> None:
    words = ("generate", PROMPT, "--seed", "7", "--label", "of:mine", "-o", "out")
    process = await command.start(*words)
    job = await first_job(command.url)
    assert (job.request["seed"], job.request["labels"]) == (7, {"of": "mine"})
    await worker.watched(job)
    await worker.develop(job)
    done = await command.end(process)
    path = Path("out/a-red-circle-on-a-blue-background-7.png")
    assert (done.code, done.out) == (ExitCode.OK, f"{path}\n")
    assert (command.folder / path).read_bytes() == PICTURE
    assert done.err.splitlines()[-2:] == ["running", "succeeded"]


async def test_generate_in_json_holds_the_job_and_the_paths(
    command: Command, worker: PlayedWorker
) -> None:
    process = await command.start("generate", PROMPT, "--json")
    job = await first_job(command.url)
    await worker.develop(job)
    told = json.loads((await command.end(process)).out)
    assert (told["job"]["id"], told["job"]["status"]) == (job.id, "succeeded")
    assert told["paths"] == ["a-red-circle-on-a-blue-background-7.png"]


async def test_ctrl_c_cancels_what_generate_has_submitted(
    command: Command, worker: PlayedWorker
) -> None:
    process = await command.start("generate", PROMPT)
    job = await first_job(command.url)
    await worker.watched(job)
    process.send_signal(signal.SIGINT)
    done = await command.end(process)
    assert (done.code, done.err.splitlines()[-1]) == (
        ExitCode.INTERRUPTED,
        "darkroom: interrupted",
    )
    assert (await first_job(command.url)).status == "canceled"


async def test_a_submitted_job_is_watched_listed_and_cancelled(command: Command) -> None:
    job_id = (await command.run("submit", PROMPT)).out.strip()
    listed = await command.run("jobs", "--status", "queued")
    assert listed.out == f"{job_id}\tqueued\tshapes-sd\t0/20\t{PROMPT}\n"
    cancelled = await command.run("cancel", job_id)
    assert cancelled.out == f"{job_id} canceled\n"
    watched = await command.run("watch", job_id, "--json")
    last = json.loads(watched.out.splitlines()[-1])
    assert (last["event"], last["data"]["status"]) == ("end", "canceled")
    assert (watched.code, watched.err) == (
        ExitCode.JOB_FAILED,
        f"darkroom: job {job_id} has no pictures: it was canceled\n",
    )
    deleted = await command.run("delete", job_id, "--json")
    assert json.loads(deleted.out) == {"id": job_id, "deleted": True}
    assert json.loads((await command.run("jobs", "--json")).out) == []


async def test_models_are_listed_for_people_and_for_programs(command: Command) -> None:
    assert "shapes-sd\t64x64\t20\t0\t" in (await command.run("models")).out
    told = json.loads((await command.run("models", "--json")).out)
    assert "shapes-sd" in [model["name"] for model in told]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["submit", PROMPT, "--steps", "0"], ExitCode.REFUSED, "darkroom: steps: "),
        (["models", "--url", "here"], ExitCode.USAGE, "darkroom: the address must be whole"),
        (
            ["models", "--url", "http://127.0.0.1:1"],
            ExitCode.UNREACHABLE,
            "darkroom: nothing answers at http://127.0.0.1:1 (ConnectError)",
        ),
        (
            ["generate", PROMPT, "--timeout", "0.1"],
            ExitCode.TIMEOUT,
            "has not finished after 0.1 s",
        ),
        (["inspect", "none.png"], ExitCode.FILE, "darkroom: none.png cannot be read"),
        (["submit", PROMPT, "--label", "x"], ExitCode.USAGE, "a label is name:value"),
    ],
)
async def test_what_went_wrong_is_one_line_and_a_code(
    command: Command, words: Sequence[str], code: ExitCode, told: str
) -> None:
    done = await command.run(*words)
    assert (done.code, done.out) == (code, "")
    assert told in done.err
    assert "Traceback" not in done.err


async def test_a_terminal_shows_a_bar_and_the_previews(
    command: Command, worker: PlayedWorker
) -> None:
    ours, theirs = pty.openpty()
    process = await command.start("generate", PROMPT, "--preview", "iterm2", stderr=theirs)
    os.close(theirs)
    shown = bytearray()
    reading = asyncio.create_task(asyncio.to_thread(_read_all, ours, shown))
    async with asyncio.timeout(60):
        while b"queued: no worker" not in shown:
            await asyncio.sleep(0.01)
    await worker.develop(await first_job(command.url), 20)
    done = await command.end(process)
    await reading
    assert done.code == ExitCode.OK
    for text in ("running", "step 20 of 20", "succeeded"):
        assert text.encode() in shown
    for picture in (PREVIEW, PICTURE):
        assert f"\x1b]1337;File=inline=1;size={len(picture)};".encode() in shown


def _read_all(terminal: int, shown: bytearray) -> None:
    """What is written to a terminal until its other end is closed."""
    # An error is how Linux tells of that end.
    with suppress(OSError):
        while piece := os.read(terminal, 65_536):
            shown += piece
    os.close(terminal)


# -- inspect ---------------------------------------------------------------------------------------


@pytest.fixture
def picture(request_: AdmittedRequest, settings: Settings, tmp_path: Path) -> Path:
    """A picture of the service's, the second of its job."""
    spec = Catalog.load(settings.catalog)["shapes-sd"]
    path = tmp_path / "picture.png"
    asked = request_.model_copy(update={"images": 2, "steps": 12})
    path.write_bytes(
        encode(Image.new("RGB", (8, 8)), asked.output_format, making_of(asked, 1, spec))
    )
    return path


async def test_a_picture_tells_how_it_was_made(command: Command, picture: Path) -> None:
    assert (await command.run("inspect", picture.name)).out == (
        f"{PROMPT}\nSteps: 12, CFG scale: 4.0, Seed: 8, Size: 64x64, Model: shapes-sd\n"
    )
    told = json.loads((await command.run("inspect", picture.name, "--json")).out)
    assert told["request"]["seed"] == 8


async def test_a_picture_is_made_again(
    command: Command, worker: PlayedWorker, picture: Path
) -> None:
    process = await command.start("inspect", picture.name, "--resubmit", "-o", "again")
    job = await first_job(command.url)
    asked = {name: job.request[name] for name in ("prompt", "seed", "steps", "images")}
    assert asked == {"prompt": PROMPT, "seed": 8, "steps": 12, "images": 1}
    await worker.develop(job)
    done = await command.end(process)
    assert done.out == "again/a-red-circle-on-a-blue-background-7.png\n"


async def test_a_picture_of_another_tool_s_cannot_be_made_again_nor_move_the_cursor(
    command: Command,
) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", "a red circle\x1b[2J\nSteps: 20, Seed: 7, Size: 64x64")
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, "png", pnginfo=chunks)
    (command.folder / "other.png").write_bytes(file.getvalue())
    assert (await command.run("inspect", "other.png")).out == (
        "a red circle�[2J\nSteps: 20, Seed: 7, Size: 64x64\n"
    )
    done = await command.run("inspect", "other.png", "--resubmit")
    assert done.code == ExitCode.FILE
    assert "holds no request of Darkroom's" in done.err


# -- config ----------------------------------------------------------------------------------------


async def test_a_key_is_kept_where_only_its_owner_reads_it_and_never_printed(
    command: Command, redis: ArqRedis
) -> None:
    kept = await command.run("config", "--url", "https://a.example", "--key", typed="s3cret\n")
    shown = await command.run("config", "--json")
    assert kept.code == shown.code == ExitCode.OK
    assert config.read() == {"url": "https://a.example", "key": "s3cret"}
    assert stat.S_IMODE(config.path().stat().st_mode) == 0o600
    assert "s3cret" not in kept.out + kept.err + shown.out + shown.err
    # The environment's address goes before the kept one, whose key it must not get.
    told = json.loads(shown.out)
    assert (told["url"], told["has_key"]) == (command.url, False)
    await command.run("config", "--url", "https://b.example")
    assert config.read() == {"url": "https://b.example"}
    await command.run("config", "--forget")
    assert config.read() == {}
