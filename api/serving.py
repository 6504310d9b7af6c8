"""The server below the application: where it listens, and what one client may take of it."""

import resource
from typing import Any

from api.connection import bounded
from jobs.settings import Settings

#: How long the requests under way may go on once the API is told to stop.
STOP_WITHIN_S = 5
#: Files that a process needs beside its clients' connections: Redis, S3, webhooks, logs.
OTHER_FILES = 512


def options(settings: Settings) -> dict[str, Any]:
    """How uvicorn serves the application."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": bounded(settings.max_connections, settings.request_timeout_s),
        # There are none; their protocol would take connections out of these bounds.
        "ws": "none",
        "log_config": None,
        # It would repeat what the jobs' own lines say, and hold what users name things.
        "access_log": False,
        # Which software answers is nobody's business.
        "server_header": False,
        # Whoever is held or streamed to is cut off then, and comes back to another process.
        "timeout_graceful_shutdown": STOP_WITHIN_S,
    }


def allow_files(settings: Settings) -> None:
    """Raise the process's own limit on open files, as far as it may, to hold its connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
