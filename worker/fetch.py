"""`python -m worker.fetch` downloads the weights of the models that a worker is to load."""

import logging
import sys

from jobs import logs
from jobs.settings import settings
from pipelines.catalog import Catalog
from pipelines.errors import PipelineError
from pipelines.loading import check_folder, fetch

log = logging.getLogger("darkroom.worker")


def main() -> None:
    """Fetch what is not there yet, and refuse what could not be loaded."""
    chosen = settings()
    logs.configure(chosen.log_level)
    try:
        for spec in Catalog.load(chosen.catalog).only(chosen.models).values():
            folder = fetch(spec)
            check_folder(spec, folder)
            log.info("model %s is in %s", spec.name, folder)
    except PipelineError as error:
        sys.exit(f"darkroom-server: {error}")


if __name__ == "__main__":
    main()
