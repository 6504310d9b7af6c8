"""What the API wants to know before it listens where others can reach it."""

import psutil
import pytest
from api_process import starting, status
from arq.connections import ArqRedis
from key_holders import holder

from jobs.access.keyring import Keyring
from jobs.exchange import Exchange
from local.stack import Stack


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_without_a_key_it_refuses_to_listen_to_others_and_says_what_helps(
    stores: Stack, redis: ArqRedis, host: str
) -> None:
    revoked = await holder(redis)
    await Keyring(Exchange(redis)).revoke(revoked.key.id)
    with starting(stores, host=host) as (process, _):
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = complaint.splitlines()
    assert "darkroom-server keys create" in line
    assert "DARKROOM_ALLOW_ANONYMOUS=true" in line


async def test_with_a_key_it_listens_to_others_and_asks_them_for_it(
    stores: Stack, redis: ArqRedis
) -> None:
    ann = await holder(redis)
    with starting(stores, host="0.0.0.0") as (process, port):
        assert status(process, port) == 401
        assert status(process, port, **ann.headers) == 200


def test_the_setting_opens_it_to_everybody(stores: Stack, redis: object) -> None:
    with starting(stores, host="0.0.0.0", allow_anonymous="true") as (process, port):
        assert status(process, port) == 200


def test_by_default_it_listens_on_loopback_alone(stores: Stack, redis: object) -> None:
    with starting(stores) as (process, port):
        assert status(process, port) == 200
        listening = [
            each.laddr.ip
            for each in psutil.Process(process.pid).net_connections("inet")
            if each.status == psutil.CONN_LISTEN
        ]
    assert listening == ["127.0.0.1"]


def test_while_redis_is_away_it_starts_and_lets_nobody_in(stores: Stack) -> None:
    away = {"host": "0.0.0.0", "redis_url": "redis://127.0.0.1:1/0"}
    with starting(stores, **away) as (process, port):
        assert status(process, port) == 401
