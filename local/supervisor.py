"""Starts parts, shows their logs, and stops all of them when one fails or somebody says so."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from local.errors import StackError
from local.part import Part

COLOURS = (36, 33, 35, 32, 34, 31)
Result = TypeVar("Result")


class Supervisor:
    """Runs the parts of a stack. Leaving the context stops them, last started first."""

    def __init__(self) -> None:
        self._running: list[tuple[Part, asyncio.subprocess.Process]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[StackError] = asyncio.get_running_loop().create_future()
        self._stopping = False
        self._held: list[str] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self, *parts: Part) -> None:
        """Start parts and wait until each is ready.

        Raises:
            StackError: one ended, or was not ready in its time.
        """
        for part in parts:
            process = await part.start()
            number = len(self._running)
            self._running.append((part, process))
            self._tasks.append(asyncio.create_task(self._relay(part, process, number)))
            self._tasks.append(asyncio.create_task(self._watch(part, process)))
        waiting = asyncio.gather(*(self._until_ready(part) for part in parts))
        await self.unless_failed(waiting)

    async def unless_failed(self, work: asyncio.Future[Result]) -> Result:
        """The result of some work, or the failure of a part if that comes first.

        Raises:
            StackError: a part failed.
        """
        awaited: set[asyncio.Future[Any]] = {work, self._failed}
        try:
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        if self._failed.done():
            raise self._failed.result()
        return work.result()

    def hold_logs(self) -> None:
        """Keep the parts' lines back, while something else has the terminal."""
        self._held = []

    def show_logs(self) -> None:
        """Write what was kept back, and go on as usual."""
        held, self._held = self._held or [], None
        for line in held:
            self._write(line)

    async def stop(self) -> None:
        """Stop every part: the last started first, by force when its time is up."""
        self._stopping = True
        while self._running:
            part, process = self._running.pop()
            await _stop(part, process)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _until_ready(self, part: Part) -> None:
        try:
            async with asyncio.timeout(part.ready_within_s):
                while not await part.is_ready():  # noqa: ASYNC110 (nothing tells us but asking)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise StackError(
                f"{part.name} was not ready within {part.ready_within_s:.0f} s"
            ) from None

    async def _watch(self, part: Part, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if not self._stopping and not self._failed.done():
            what = f"{part.name} ended by itself ({_ending(code)})"
            self._failed.set_result(StackError(f"{what}; {part.hint}" if part.hint else what))

    async def _relay(self, part: Part, process: asyncio.subprocess.Process, number: int) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                line = end.partial
            except asyncio.LimitOverrunError as overrun:
                line = await process.stdout.read(overrun.consumed)
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._write(f"{_prefix(part.name, number)} {text}")

    def _write(self, line: str) -> None:
        if self._held is not None:
            self._held.append(line)
        else:
            print(line, flush=True)


async def _stop(part: Part, process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), part.stop_within_s)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _prefix(name: str, number: int) -> str:
    label = f"{name:<6} |"
    if not sys.stdout.isatty():
        return label
    return f"\x1b[{COLOURS[number % len(COLOURS)]}m{label}\x1b[0m"


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
