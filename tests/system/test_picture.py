"""From a prompt over HTTP to a picture that obeys it."""

import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.system

PROMPT = "a red circle on a blue background"
RED, BLUE = np.array([255, 0, 0]), np.array([0, 0, 255])


def is_near(pixels: np.ndarray, colour: np.ndarray) -> bool:
    """Whether an area is of a colour to the eye: nearer to it than to the other one."""
    mean = pixels.reshape(-1, 3).mean(axis=0)
    other = BLUE if colour is RED else RED
    return bool(np.linalg.norm(mean - colour) < np.linalg.norm(mean - other) / 2)


def assert_obeys(picture: Image.Image) -> None:
    pixels = np.asarray(picture.convert("RGB"), float)
    side = len(pixels)
    middle = pixels[side * 7 // 16 : side * 9 // 16, side * 7 // 16 : side * 9 // 16]
    edge = np.concatenate([pixels[:2], pixels[-2:]])
    assert is_near(middle, RED), middle.mean(axis=(0, 1))
    assert is_near(edge, BLUE), edge.mean(axis=(0, 1))


def submit_and_poll(url: str, **request: Any) -> dict[str, Any]:
    """The README's way: submit, poll until done."""
    answer = httpx.post(f"{url}/v1/jobs", json=request)
    assert answer.status_code == 202, answer.text
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job: dict[str, Any] = httpx.get(url + answer.headers["location"]).json()
        if job["status"] not in ("queued", "running"):
            return job
        time.sleep(0.05)
    raise TimeoutError(job)


def test_submit_poll_download_and_look(service: Any) -> None:
    job = submit_and_poll(service.url, prompt=PROMPT, seed=3)
    assert job["status"] == "succeeded"
    (image,) = job["images"]
    assert_obeys(Image.open(BytesIO(httpx.get(image["url"]).content)))


def test_the_client_s_command_saves_the_picture(service: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "darkroom", "generate", PROMPT, "--url", service.url]
    done = subprocess.run(
        [*command, "--output", str(tmp_path), "--seed", "3"],
        capture_output=True,
        text=True,
        check=True,
    )
    saved = Path(done.stdout.strip())
    assert saved.name == "a-red-circle-on-a-blue-background-3.png"
    assert_obeys(Image.open(saved))
    assert "succeeded" in done.stderr


def test_the_service_gives_the_picture_that_plain_diffusers_gives(service: Any) -> None:
    import torch
    from diffusers import StableDiffusionPipeline

    job = submit_and_poll(service.url, prompt=PROMPT, seed=5, steps=12, guidance_scale=3.0)
    (image,) = job["images"]
    ours = Image.open(BytesIO(httpx.get(image["url"]).content))
    folder = Path(__file__).parent.parent.parent / "pipelines" / "demo" / "shapes-sd"
    plain = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    plain.set_progress_bar_config(disable=True)
    theirs = plain(
        PROMPT,
        num_inference_steps=12,
        guidance_scale=3.0,
        generator=torch.Generator("cpu").manual_seed(5),
    ).images[0]
    difference = np.abs(np.asarray(ours, np.int16) - np.asarray(theirs, np.int16))
    assert difference.max() <= 1


def test_a_picture_drawn_token_by_token_obeys_as_well(service: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "darkroom", "generate", PROMPT, "--url", service.url]
    options = ["--model", "shapes-janus", "--temperature", "0", "--output", str(tmp_path)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert_obeys(Image.open(done.stdout.strip()))
    assert "succeeded" in done.stderr


def test_one_command_leaves_a_picture_of_a_model_without_steps(stack: Any, tmp_path: Path) -> None:
    output = ["--once", "--output", str(tmp_path / "out")]
    stack.start(
        "--model", "shapes-janus", "--prompt", "a green triangle on a white ground", *output
    )
    assert stack.process.wait(timeout=120) == 0, stack.log
    (saved,) = (tmp_path / "out").glob("a-green-triangle-*.png")
    with Image.open(saved) as picture:
        assert picture.size == (64, 64)


def test_one_command_leaves_the_picture_and_says_where(stack: Any, tmp_path: Path) -> None:
    stack.start("--prompt", PROMPT, "--once", "--output", str(tmp_path / "out"))
    assert stack.process.wait(timeout=120) == 0, stack.log
    (saved,) = (tmp_path / "out").glob("*.png")
    assert f"Your picture is {saved}" in stack.log
    assert_obeys(Image.open(saved))


def test_a_picture_that_cannot_be_saved_fails_the_command(stack: Any) -> None:
    stack.start("--prompt", PROMPT, "--once", "--output", "/dev/null/nowhere")
    assert stack.process.wait(timeout=120) == 1
    assert "darkroom: the picture cannot be saved" in stack.log
    assert "Traceback" not in stack.log


def test_two_stacks_do_not_meet(service: Any) -> None:
    command = [sys.executable, "-m", "local.command", "up", "--once"]
    second = subprocess.run(
        [*command, "--folder", str(service.folder / "var")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr.splitlines() == [
        f"darkroom-server: a stack runs from {service.folder / 'var'} already: {service.url}"
    ]
