"""OpenAI's own Python package against the whole stack: blocking, awaiting and streaming."""

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

pytestmark = pytest.mark.system

PROMPT = "a red circle on a blue background"


@pytest.fixture
def client(service: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def picture(base64_text: str | None) -> Image.Image:
    assert base64_text
    return Image.open(BytesIO(base64.b64decode(base64_text)))


def test_pictures_are_made_and_come_with_the_answer(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        model="shapes-sd", prompt=PROMPT, n=2, size="64x128", extra_body={"seed": 3, "steps": 8}
    )
    assert answer.data is not None
    first, second = (picture(image.b64_json) for image in answer.data)
    assert first.size == second.size == (64, 128)
    assert first.tobytes() != second.tobytes()
    assert '"seed": 3' in first.info["darkroom"]
    assert answer.size == "64x128"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 0


def test_pictures_can_be_fetched_from_addresses(client: openai.OpenAI) -> None:
    answer = client.images.generate(prompt=PROMPT, response_format="url", output_format="webp")
    assert answer.data is not None
    assert answer.data[0].url is not None
    fetched = Image.open(BytesIO(httpx.get(answer.data[0].url).content))
    assert (fetched.format, fetched.size) == ("WEBP", (64, 64))


async def test_the_awaiting_client_makes_pictures(service: Any) -> None:
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none") as client:
        answer = await client.images.generate(model="shapes-sd", prompt=PROMPT)
        assert answer.data is not None
        assert picture(answer.data[0].b64_json).size == (64, 64)


def test_a_stream_shows_the_picture_as_it_comes(client: openai.OpenAI) -> None:
    # Long enough for previews, which a quick picture does without.
    stream = client.images.generate(
        prompt=PROMPT,
        n=4,
        size="128x128",
        stream=True,
        partial_images=3,
        extra_body={"steps": 100},
    )
    *partial, first, second, third, fourth = list(stream)
    completed = (first, second, third, fourth)
    assert {event.type for event in completed} == {"image_generation.completed"}
    assert {picture(event.b64_json).size for event in completed} == {(128, 128)}
    assert {event.type for event in partial} == {"image_generation.partial_image"}
    assert {picture(event.b64_json).format for event in partial} == {"WEBP"}


async def test_an_awaiting_stream_ends_with_the_picture(service: Any) -> None:
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none") as client:
        stream = await client.images.generate(prompt=PROMPT, stream=True)
        events = [event async for event in stream]
    assert events[-1].type == "image_generation.completed"


def test_refusals_are_the_package_s_own_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.images.generate(model="dall-e-3", prompt=PROMPT)
    with pytest.raises(openai.BadRequestError) as wrong:
        client.images.generate(prompt=PROMPT, size="1024x1024")
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")
    assert (wrong.value.param, wrong.value.type) == ("size", "invalid_request_error")


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert "shapes-sd" in [model.id for model in client.models.list()]


def test_a_model_s_own_options_go_beside_openai_s(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        model="shapes-janus", prompt=PROMPT, extra_body={"temperature": 0.5, "seed": 3}
    )
    assert answer.data is not None
    assert '"temperature": 0.5' in picture(answer.data[0].b64_json).info["darkroom"]
