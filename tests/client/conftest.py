"""Both clients on a real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn
from arq.connections import ArqRedis
from both_clients import Client
from darkroom import AsyncDarkroom, Darkroom
from played_worker import PlayedWorker

from api.app import create_app
from jobs.settings import Settings
from jobs.storage import PictureStore
from jobs.store import JobStore
from local.ports import free_port


@pytest.fixture(autouse=True)
def _nobodys_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests may use a Darkroom of their own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("DARKROOM_URL", "DARKROOM_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def port(settings: Settings, redis: ArqRedis) -> AsyncIterator[int]:
    """An API that really listens."""
    port = free_port()
    config = uvicorn.Config(create_app(settings), port=port, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:
            await asyncio.sleep(0.01)
    yield port
    server.should_exit = True
    await serving


@pytest.fixture(params=[Darkroom, AsyncDarkroom])
def kind(request: pytest.FixtureRequest) -> type[Darkroom | AsyncDarkroom]:
    """Each test that asks for a client runs with both."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def client(kind: type[Darkroom | AsyncDarkroom], port: int) -> AsyncIterator[Client]:
    client = Client(kind(f"http://127.0.0.1:{port}"))
    yield client
    await client.close()


@pytest.fixture
def worker(store: JobStore, pictures: PictureStore, redis: ArqRedis) -> PlayedWorker:
    return PlayedWorker(store, pictures, redis)
