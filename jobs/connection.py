"""The connection to Redis, made in one way by every process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from arq.connections import ArqRedis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from jobs.errors import StoreUnavailableError
from jobs.settings import Settings
from jobs.tasks import is_told_to_end
from jobs.wire import deserialize, serialize

#: Redis is there and refuses to write: its memory or disk is full, or it has lost its replicas.
REFUSALS = ("OOM ", "MISCONF ", "READONLY ", "NOREPLICAS ", "MASTERDOWN ")


def connect(settings: Settings) -> ArqRedis:
    """A pool of connections; none is opened before it is needed."""
    redis: ArqRedis = ArqRedis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_timeout_s,
    )
    redis.job_serializer = serialize
    redis.job_deserializer = deserialize
    return redis


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn a lost connection, and a Redis that cannot write, into the one error that callers know.

    Raises:
        StoreUnavailableError: Redis refused, or did not answer and nobody knows whether it acted.
    """
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        if is_told_to_end():
            raise asyncio.CancelledError from error
        raise StoreUnavailableError(f"Redis does not answer ({type(error).__name__})") from error
    except (OutOfMemoryError, ReadOnlyError) as error:
        raise StoreUnavailableError(f"Redis cannot write ({type(error).__name__})") from error
    except ResponseError as error:
        # An error inside a script carries the one that it met.
        reason = next((code.strip() for code in REFUSALS if code in str(error)), None)
        if reason is None:
            raise
        raise StoreUnavailableError(f"Redis cannot write ({reason})") from error
