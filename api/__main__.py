"""`python -m api` serves the API."""

import sys

import uvicorn

from api.app import create_app
from jobs.settings import settings
from pipelines.errors import CatalogError


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    chosen = settings()
    try:
        app = create_app(chosen)
    except CatalogError as error:
        sys.exit(f"darkroom-server: {error}")
    # Access logs would repeat what the jobs' own lines say, and hold what users name things.
    uvicorn.run(app, host=chosen.host, port=chosen.port, log_config=None, access_log=False)


if __name__ == "__main__":
    main()
