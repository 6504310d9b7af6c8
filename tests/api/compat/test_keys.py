"""Other services' clients with a key: sent as they send theirs, refused as they know it."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import openai
import pytest
import webuiapi
from arq.connections import ArqRedis
from fastapi import FastAPI
from key_holders import holder

from api.app import create_app
from jobs.access.model import Scope
from jobs.settings import Settings

T = TypeVar("T")


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """An API that wants a key of everybody."""
    return create_app(settings.model_copy(update={"allow_anonymous": False}))


async def elsewhere(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """What a client that blocks answers, while the API goes on here."""
    return await asyncio.to_thread(call, *arguments, **options)


async def test_openai_s_client_sends_the_key_and_raises_its_own_exceptions(
    http: Any, redis: ArqRedis
) -> None:
    limited = await holder(redis, limits={"images_per_day": 1})
    reader = await holder(redis, scopes={Scope.JOBS_READ})

    def client(key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{http.base_url}/v1", api_key=key, max_retries=0)

    async def generate(key: str, count: int) -> None:
        with client(key) as sdk:
            await elsewhere(sdk.images.generate, prompt="a red circle", n=count)

    with client(reader.text) as sdk:
        assert (await elsewhere(sdk.models.list)).data[0].id == "shapes-sd"
    with pytest.raises(openai.AuthenticationError) as unknown:
        await generate("sk-none", 1)
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError):
        await generate(reader.text, 1)
    await http.post("/v1/jobs", json={"prompt": "a red circle"}, headers=limited.headers)
    with pytest.raises(openai.RateLimitError) as refused:
        await generate(limited.text, 1)
    assert int(refused.value.response.headers["retry-after"]) > 0
    with pytest.raises(openai.BadRequestError):
        await generate(limited.text, 2)


async def test_automatic1111_s_client_sends_the_key_as_its_password(
    http: Any, redis: ArqRedis
) -> None:
    ann = await holder(redis)
    address = f"{http.base_url}/sdapi/v1"
    stranger = await elsewhere(webuiapi.WebUIApi, baseurl=address)
    assert (await elsewhere(stranger.get_sd_models))["error"] == "unauthenticated"
    user = {"username": "anybody", "password": ann.text}
    client = await elsewhere(webuiapi.WebUIApi, baseurl=address, **user)
    (model,) = await elsewhere(client.get_sd_models)
    assert model["title"] == "shapes-sd"
    for each in (stranger, client):
        each.session.close()
