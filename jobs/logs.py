"""One form of log line for every process: text for people, or JSON for programs."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from jobs import tracing


class LogFormat(StrEnum):
    """How a line is written."""

    #: `12:34:56 INFO    darkroom.worker  text`
    TEXT = "text"
    #: One object a line.
    JSON = "json"


#: These tell at INFO what our own lines say better, and some of it holds signed addresses or
#: signatures.
TALKATIVE: Final = ("arq", "httpx", "httpcore", "uvicorn", "botocore", "urllib3", "opentelemetry")

#: Characters that end lines or steer terminals, as Python writes them: what a line holds may come
#: from a stranger.
_ESCAPED: Final = {
    code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
}

_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)


@contextmanager
def about(job_id: str) -> Iterator[None]:
    """Have every line within name the job."""
    before = _job_id.set(job_id)
    try:
        yield
    finally:
        _job_id.reset(before)


def configure(level: str, log_format: LogFormat = LogFormat.TEXT) -> None:
    """Write lines to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATTERS[log_format]())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


class _Text(logging.Formatter):
    """Its lines about jobs name them in their text."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - it is logging's name
        trace_id = tracing.trace_id()
        line = super().formatMessage(record).translate(_ESCAPED)
        return line + (f" (trace {trace_id})" if trace_id else "")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - it is logging's name
        """Indented, so that no text within it can pass for a line of its own."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {line.translate(_ESCAPED)}" for line in lines)


class _Json(logging.Formatter):
    """Names as OpenTelemetry's, where it has any; what there is none of is left out."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "job_id": _job_id.get(),
            "trace_id": tracing.trace_id(),
            "exception": self.formatException(record.exc_info) if record.exc_info else None,
        }
        told = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(told)


FORMATTERS: Final[dict[LogFormat, type[logging.Formatter]]] = {
    LogFormat.TEXT: _Text,
    LogFormat.JSON: _Json,
}
