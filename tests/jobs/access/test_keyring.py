"""Keys are kept without their secrets, found at once, and gone within a second of being revoked."""

import asyncio
import logging
from typing import Any

import pytest
from arq.connections import ArqRedis
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs import keys
from jobs.access import keyring as module
from jobs.access.keyring import FRESH_S, Keyring
from jobs.access.secret import KeySecret
from jobs.errors import KeyNotFoundError
from jobs.exchange import Exchange
from jobs.webhooks.model import Webhook


class Counted(Exchange):
    """Counts what it is asked."""

    count = 0

    async def __call__(self, *command: Any) -> Any:
        self.count += 1
        return await super().__call__(*command)


@pytest.fixture
def exchange(redis: ArqRedis) -> Counted:
    return Counted(redis)


@pytest.fixture
def keyring(exchange: Counted) -> Keyring:
    return Keyring(exchange)


async def test_a_key_is_found_by_its_secret_alone(keyring: Keyring) -> None:
    key, secret = await keyring.create(tenant="ann", name="her laptop")
    assert secret.text.startswith(f"dk_{key.id}_")
    assert await keyring.holder(secret) == key
    assert await keyring.holder(KeySecret(secret.id, KeySecret.new().secret)) is None
    assert await keyring.holder(KeySecret.new()) is None


async def test_redis_holds_no_secret_that_opens_anything(keyring: Keyring, redis: ArqRedis) -> None:
    _, secret = await keyring.create(tenant="ann")
    (record,) = await redis.hvals(keys.API_KEYS)  # type: ignore[misc]
    assert secret.secret not in record.decode()
    assert secret.sha256 in record.decode()
    stolen = KeySecret.read(f"dk_{secret.id}_{secret.sha256[:43]}")
    assert stolen is not None
    assert await keyring.holder(stolen) is None


async def test_a_key_in_use_is_looked_up_once_a_second(keyring: Keyring, exchange: Counted) -> None:
    _, secret = await keyring.create(tenant="ann")
    before = exchange.count
    for _ in range(1_000):
        assert await keyring.holder(secret)
    assert exchange.count - before <= 2


async def test_a_revoked_key_opens_nothing_in_any_process(
    keyring: Keyring, redis: ArqRedis
) -> None:
    elsewhere = Keyring(Exchange(redis))
    key, secret = await keyring.create(tenant="ann")
    assert await elsewhere.holder(secret)
    revoked = await keyring.revoke(key.id)
    async with asyncio.timeout(FRESH_S + 0.2):
        while await elsewhere.holder(secret):
            await asyncio.sleep(0.01)
    assert await keyring.revoke(key.id) == revoked, "again changes nothing"
    assert await keyring.all() == [revoked]


async def test_a_process_remembers_so_many_keys_only(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_REMEMBERED", 3)
    for number in range(10):
        _, secret = await keyring.create(tenant=f"tenant-{number}")
        assert await keyring.holder(secret)
        assert len(keyring._seen) <= 3


@pytest.mark.parametrize("poison", ["", "{", "[]", '{"id": "x"}', "\x00", '{"tenant": "a b"}'])
async def test_a_poisoned_record_opens_nothing_and_stops_nobody(
    keyring: Keyring, redis: ArqRedis, poison: str, caplog: pytest.LogCaptureFixture
) -> None:
    key, secret = await keyring.create(tenant="ann")
    other = KeySecret.new()
    await redis.hset(keys.API_KEYS, other.id, poison)  # type: ignore[misc]
    with caplog.at_level(logging.ERROR):
        assert await keyring.holder(other) is None
        assert await keyring.all() == [key]
    assert await keyring.holder(secret) == key


@pytest.mark.parametrize("tenant", ["", "a b", "a/b", "a:b", "x" * 64, "ann\n", "é"])
async def test_a_tenant_s_name_is_safe_wherever_it_stands(keyring: Keyring, tenant: str) -> None:
    with pytest.raises(ValidationError):
        await keyring.create(tenant=tenant)


async def test_what_is_not_there_cannot_be_revoked(keyring: Keyring) -> None:
    with pytest.raises(KeyNotFoundError):
        await keyring.revoke("0123456789ab")


async def test_all_of_a_key_comes_back(keyring: Keyring) -> None:
    key, _ = await keyring.create(
        tenant="ann", webhook=Webhook(url="https://example.com/"), webhook_secret="whsec_x"
    )
    assert await Keyring(keyring._exchange).all() == [key]
    assert key.webhook_secret.get_secret_value() == "whsec_x"


async def test_a_printed_key_shows_no_secret(keyring: Keyring) -> None:
    key, secret = await keyring.create(tenant="ann", webhook_secret="whsec_hush")
    shown = f"{key!r} {key} {secret!r} {secret} {key.model_dump()}"
    assert secret.secret not in shown
    assert "hush" not in shown


@given(st.text() | st.from_regex(r"dk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", fullmatch=True))
def test_a_key_is_read_as_it_was_written_or_not_at_all(text: str) -> None:
    found = KeySecret.read(text)
    assert found is None or found.text == text


def test_new_keys_are_read_again_and_never_alike() -> None:
    made = [KeySecret.new() for _ in range(100)]
    assert [KeySecret.read(secret.text) for secret in made] == made
    assert len({secret.id for secret in made} | {secret.secret for secret in made}) == 200
