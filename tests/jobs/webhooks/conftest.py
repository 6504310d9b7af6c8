"""Jobs that want to be told of, a receiver, and deliverers on the session's Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from arq.connections import ArqRedis
from pydantic import SecretStr
from receiver import SECRET, Receiver, receiving

from jobs import keys
from jobs.exchange import Exchange
from jobs.model import AdmittedRequest, Job
from jobs.settings import Settings
from jobs.signals import Signals
from jobs.store import JobStore
from jobs.webhooks.deliverer import Deliverer
from jobs.webhooks.deliveries import Deliveries
from jobs.webhooks.model import Webhook

Delivering = Callable[..., AbstractAsyncContextManager[Deliverer]]
Until = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
def hooked(settings: Settings) -> Settings:
    """Settings under which webhooks reach this machine, and are tried again at once."""
    changes: dict[str, Any] = {
        "webhook_secret": SecretStr(SECRET),
        "webhook_allow": ("127.0.0.0/8",),
        "webhook_retries_s": (0.0, 0.0),
        "webhook_timeout_s": 5.0,
    }
    return settings.model_copy(update=changes)


@pytest.fixture
def store(redis: ArqRedis, hooked: Settings) -> JobStore:
    return JobStore(redis, hooked)


@pytest.fixture
def deliveries(redis: ArqRedis) -> Deliveries:
    return Deliveries(Exchange(redis))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def wanted(request_: AdmittedRequest, receiver: Receiver) -> AdmittedRequest:
    """A request whose webhook is the receiver."""
    return request_.model_copy(update={"webhook": Webhook(url=receiver.url)})


@pytest.fixture
def delivering(hooked: Settings, redis: ArqRedis, store: JobStore) -> Delivering:
    """Deliver for as long as a block lasts."""

    @asynccontextmanager
    async def run(
        present: Callable[[Job], Job] = lambda job: job, **changes: Any
    ) -> AsyncIterator[Deliverer]:
        signals = Signals(redis)
        deliverer = Deliverer(hooked.model_copy(update=changes), store, signals, present)
        running = [asyncio.create_task(work) for work in (signals.listen(), deliverer.run())]
        try:
            yield deliverer
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    return run


@pytest.fixture
def until() -> Until:
    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(20):
            while not await condition():
                await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def settled(redis: ArqRedis, until: Until) -> Callable[[], Awaitable[None]]:
    """Waits until nobody is owed anything."""

    async def wait() -> None:
        async def nothing_is_due() -> bool:
            return not await redis.zcard(keys.WEBHOOKS)

        await until(nothing_is_due)

    return wait
