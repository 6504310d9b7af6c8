"""A Redis that is there and cannot write is the one error that callers know."""

import pytest
from arq.connections import ArqRedis
from redis.exceptions import ResponseError

from jobs.connection import REFUSALS, redis_errors
from jobs.errors import StoreUnavailableError

#: Redis's own answer with some code, at the top and from inside a script.
ANSWERS = {
    "command": "return redis.error_reply(ARGV[1] .. 'it cannot')",
    "script": "error(ARGV[1] .. 'it cannot')",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("code", REFUSALS)
async def test_every_refusal_to_write_is_unavailable(
    redis: ArqRedis, code: str, answer: str
) -> None:
    with pytest.raises(StoreUnavailableError, match="Redis cannot write"), redis_errors():
        await redis.eval(answer, 0, code)  # type: ignore[misc]


async def test_a_mistake_of_ours_stays_one(redis: ArqRedis) -> None:
    with pytest.raises(ResponseError), redis_errors():
        await redis.eval("return redis.call('NO SUCH COMMAND')", 0)  # type: ignore[misc]
