"""Is the process alive, and can it do its work?"""

import asyncio

from fastapi import APIRouter
from pydantic import BaseModel

from api import problems
from api.parts import Deps, Parts
from jobs.connection import redis_errors

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """All is well; anything else is a problem."""

    status: str = "ok"


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    """Answers as long as the process does, whatever else is away."""
    return Health()


@router.get(
    "/readyz",
    summary="Can it take jobs?",
    responses=problems.responses("unavailable"),
)
async def readyz(parts: Deps) -> Health:
    """Answers 200 while Redis and the bucket can be reached."""
    await asyncio.gather(_redis(parts), asyncio.to_thread(parts.pictures.check))
    return Health()


async def _redis(parts: Parts) -> None:
    with redis_errors():
        await parts.jobs.redis.ping()
