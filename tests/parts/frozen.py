"""Redis as an earlier version of the service has left it, put into a Redis of today."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arq.connections import ArqRedis

FOLDER = Path(__file__).parent.parent / "jobs" / "frozen"


@dataclass(frozen=True)
class Frozen:
    """Jobs of an earlier version."""

    #: By the state that each is in.
    jobs: dict[str, str]
    batch: str


async def thaw(redis: ArqRedis, layout: int) -> Frozen:
    """Write down everything as the version with this layout of records had it."""
    document = json.loads((FOLDER / f"layout_{layout}.json").read_text())
    for key, kept in document["redis"].items():
        await _write(redis, key, kept["type"], kept["value"])
    return Frozen(document["jobs"], document["batch"])


async def _write(redis: ArqRedis, key: str, kind: str, value: Any) -> None:
    match kind:
        case "string":
            await redis.set(key, value)
        case "hash":
            await redis.hset(key, mapping=value)  # type: ignore[misc]
        case "zset":
            await redis.zadd(key, value)
        case "set":
            await redis.sadd(key, *value)  # type: ignore[misc]
        case "stream":
            for event_id, fields in value:
                await redis.xadd(key, fields, id=event_id)
        case _:
            raise ValueError(kind)
