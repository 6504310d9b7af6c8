"""One process of the stack."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from local.errors import StackError

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Part:
    """What to start, and how to tell that it is ready."""

    name: str
    command: tuple[str, ...]
    #: Added to the environment. Secrets go here or into files, never into `command`.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Raises, or answers False, as long as the part is not ready.
    ready: Callable[[], Awaitable[bool]]
    ready_within_s: float = 30.0
    stop_within_s: float = 10.0
    #: Where to read more when it fails.
    hint: str = ""

    async def start(self) -> asyncio.subprocess.Process:
        """Start the process. It dies with its parent, even when that is killed.

        Its own session keeps the terminal's Ctrl-C from it: parts stop in order, on our word.
        """
        try:
            return await asyncio.create_subprocess_exec(
                *self.command,
                env={**os.environ, **self.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        except OSError as error:
            raise StackError(f"{self.name} cannot be started: {error}") from error

    async def is_ready(self) -> bool:
        try:
            return await self.ready()
        except Exception:
            # Whatever a part answers before it is ready, it is not ready.
            return False


_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends (prctl(2))."""
    assert _libc is not None
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
