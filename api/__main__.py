"""`python -m api` serves the API."""

import sys

import uvicorn

from api.app import create_app
from jobs.settings import settings
from pipelines.errors import CatalogError

#: How long the requests under way may go on once the API is told to stop.
STOP_WITHIN_S = 5


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    chosen = settings()
    try:
        app = create_app(chosen)
    except CatalogError as error:
        sys.exit(f"darkroom-server: {error}")
    uvicorn.run(
        app,
        host=chosen.host,
        port=chosen.port,
        log_config=None,
        # It would repeat what the jobs' own lines say, and hold what users name things.
        access_log=False,
        # Whoever is held or streamed to is cut off then, and comes back to another process.
        timeout_graceful_shutdown=STOP_WITHIN_S,
    )


if __name__ == "__main__":
    main()
