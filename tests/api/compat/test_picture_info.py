"""`png-info`: pictures as the worker writes them, and what is none."""

import base64
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from jobs.model import AdmittedRequest, OutputFormat
from jobs.settings import Settings
from pipelines.catalog import Catalog
from worker.encoding import encode
from worker.making import making_of

PATH = "/sdapi/v1/png-info"


def encoded(request: AdmittedRequest, side: int = 64) -> str:
    """A picture of noise, in base64."""
    catalog = Catalog.load(Path(__file__).parents[3] / "models.yaml")
    picture = Image.effect_noise((side, side), 64).convert("RGB")
    making = making_of(request, 0, catalog[request.model])
    return base64.b64encode(encode(picture, request.output_format, making)).decode()


def read(client: TestClient, image: str) -> dict[str, Any]:
    answer = client.post(PATH, json={"image": image})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("output_format", OutputFormat)
def test_a_picture_tells_how_it_was_made(
    client: TestClient, request_: AdmittedRequest, output_format: OutputFormat
) -> None:
    asked = request_.model_copy(
        update={
            "prompt": "a red circle,\non a blue background: é",
            "negative_prompt": "stars, squares",
            "scheduler": "DPM++ 2M Karras",
            "output_format": output_format,
        }
    )
    told = read(client, encoded(asked))
    assert told["info"].startswith(asked.prompt)
    assert told["parameters"] == {
        "Prompt": asked.prompt,
        "Negative prompt": "stars, squares",
        "Steps": "20",
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "CFG scale": "4.0",
        "Seed": "7",
        "Size-1": "64",
        "Size-2": "64",
        "Model": "shapes-sd",
    }


def test_a_data_address_is_taken_and_a_picture_may_be_larger_than_other_bodies(
    client: TestClient, request_: AdmittedRequest, settings: Settings
) -> None:
    image = encoded(request_, side=1024)
    assert len(image) > settings.max_body_bytes
    assert read(client, f"data:image/png;base64,{image}")["parameters"]["Seed"] == "7"


def test_a_picture_that_tells_nothing_is_answered_emptily(client: TestClient) -> None:
    plain = encode(Image.new("RGB", (8, 8)), OutputFormat.PNG)
    told = read(client, base64.b64encode(plain).decode())
    assert told == {"info": "", "items": {}, "parameters": {}}


@pytest.mark.parametrize("image", ["", "AA==", "no base64", base64.b64encode(b"GIF89a").decode()])
def test_what_is_no_picture_is_refused(client: TestClient, image: str) -> None:
    answer = client.post(PATH, json={"image": image})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "image"]
