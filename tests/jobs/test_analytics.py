"""What an operator's analytics are told of jobs, and what they never are."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from arq.connections import ArqRedis
from pydantic import SecretStr
from receiver import Receiver, receiving

from jobs import analytics
from jobs.access.model import Caller
from jobs.model import AdmittedRequest
from jobs.settings import Settings
from jobs.store import JobStore

KEY = "phc_of_the_tests"


@pytest.fixture
def posthog() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def told(settings: Settings, posthog: Receiver, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings under which analytics go to the receiver, at once."""
    monkeypatch.setattr(analytics, "SEND_EVERY_S", 0.01)
    origin = f"http://127.0.0.1:{posthog.port}"
    changes = {"analytics_host": origin, "analytics_key": SecretStr(KEY)}
    return settings.model_copy(update=changes)


def events(receiver: Receiver) -> list[dict[str, Any]]:
    """Every event that has arrived, as often as it has."""
    batches = [json.loads(each.body) for each in receiver.received if each.path == "/batch/"]
    assert {batch["api_key"] for batch in batches} <= {KEY}
    return [event for batch in batches for event in batch["batch"]]


async def test_what_happens_to_jobs_is_told_without_what_they_show(
    told: Settings, posthog: Receiver, store: JobStore, request_: AdmittedRequest
) -> None:
    request = request_.model_copy(update={"labels": {"zoo": "secret"}, "metadata": {"a": "secret"}})
    async with analytics.sending(told):
        job = await store.submit(request, caller=Caller(tenant="zoo"))
        await store.cancel(job.id)
    submitted, canceled = events(posthog)
    assert (submitted["event"], canceled["event"]) == ("job submitted", "job canceled")
    assert submitted["distinct_id"] == canceled["distinct_id"] == "zoo"
    properties = {name for name in submitted["properties"] if not name.startswith("$")}
    assert properties == analytics.TOLD
    sent = b"".join(each.body for each in posthog.received)
    assert b"circle" not in sent
    assert b"secret" not in sent


async def test_what_is_not_taken_is_sent_again(
    told: Settings, posthog: Receiver, request_: AdmittedRequest
) -> None:
    posthog.answers = [503]
    async with analytics.sending(told):
        for number in range(3):
            analytics.tell("job submitted", f"zoo-{number}", request_)
        async with asyncio.timeout(20):
            while len(posthog.received) < 2:
                await asyncio.sleep(0.01)
    refused, taken = events(posthog)[:3], events(posthog)[3:]
    assert taken == refused
    assert [event["distinct_id"] for event in taken] == ["zoo-0", "zoo-1", "zoo-2"]


async def test_a_receiver_that_is_away_costs_no_more_than_a_bound(
    told: Settings, request_: AdmittedRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analytics, "MOST_KEPT", 10)
    away = told.model_copy(update={"analytics_host": "http://127.0.0.1:1"})
    async with analytics.sending(away):
        for _ in range(100):
            analytics.tell("job submitted", "zoo", request_)
        assert analytics._kept is not None
        assert len(analytics._kept) == 10


async def test_without_a_key_nothing_is_kept_or_sent(
    told: Settings, posthog: Receiver, redis: ArqRedis, request_: AdmittedRequest
) -> None:
    off = told.model_copy(update={"analytics_key": SecretStr("")})
    async with analytics.sending(off):
        assert not analytics.is_on()
        await JobStore(redis, off).submit(request_)
    assert not posthog.received
