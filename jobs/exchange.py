"""Commands that are asked for in the same turn of the event loop reach Redis together."""

import asyncio
from collections.abc import Sequence
from typing import Any

from arq.connections import ArqRedis
from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from jobs.connection import redis_errors
from jobs.errors import StoreUnavailableError


class Exchange:
    """Runs commands, many in one round trip when many are asked for at once.

    A thousand clients that poll cost a process, and Redis, a few exchanges a moment and not a
    thousand. Commands run in the order they were asked for, each by itself: one that fails does not
    touch the others.
    """

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._asked: list[tuple[tuple[Any, ...], asyncio.Future[Any]]] = []
        #: The loop itself would forget them.
        self._under_way: set[asyncio.Task[None]] = set()

    async def __call__(self, *command: Any) -> Any:
        """Run one command, such as `("HGETALL", key)`.

        Raises:
            StoreUnavailableError: Redis did not answer, or cannot write.
            ResponseError: Redis refuses the command.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._start)
        self._asked.append((command, answer))
        with redis_errors():
            return await answer

    def _start(self) -> None:
        asked, self._asked = self._asked, []
        task = asyncio.create_task(self._run(asked))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _run(self, asked: list[tuple[tuple[Any, ...], asyncio.Future[Any]]]) -> None:
        try:
            with redis_errors():
                outcomes = await self._talk([command for command, _ in asked])
        except StoreUnavailableError as error:
            outcomes = [StoreUnavailableError(str(error)) for _ in asked]
        except Exception as error:
            # Whatever it is, nobody waits for an answer that never comes.
            outcomes = [error for _ in asked]
        for (_, answer), outcome in zip(asked, outcomes, strict=True):
            # Who asked may have gone in the meantime.
            if answer.done():
                continue
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)

    async def _talk(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What a pipeline of redis-py does, which writes commands down in Python, part by part."""
        pool = self._redis.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command(b"".join(map(pack_command, commands)))
            return [await self._answer(connection, command[0]) for command in commands]
        finally:
            await pool.release(connection)

    async def _answer(self, connection: AbstractConnection, name: str) -> Any:
        try:
            answer = await connection.read_response()
        except ResponseError as error:
            return error
        understand = self._redis.response_callbacks.get(name)
        return understand(answer) if understand else answer
