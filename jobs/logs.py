"""One form of log line for every process."""

import logging


def configure(level: str) -> None:
    """Write lines as `12:34:56 INFO    darkroom.worker  text` to standard error."""
    logging.basicConfig(
        level=level,
        format="%(asctime)s %(levelname)-7s %(name)s  %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
    # These tell at INFO what our own lines say better, and some of it holds signed addresses or
    # signatures.
    for name in ("arq", "httpx", "httpcore", "uvicorn", "botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
