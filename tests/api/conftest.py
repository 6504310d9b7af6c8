"""The application, on the session's real Redis and S3 server."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import uvicorn
from arq.connections import ArqRedis
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from api.serving import options
from jobs.settings import Settings
from local.ports import free_port


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI, redis: object) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
async def http(
    app: FastAPI, settings: Settings, redis: ArqRedis
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API that really listens: only so does it stream."""
    port = free_port()
    chosen = settings.model_copy(update={"port": port})
    server = uvicorn.Server(uvicorn.Config(app, **options(chosen)))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:
            await asyncio.sleep(0.01)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client
    server.should_exit = True
    await serving
