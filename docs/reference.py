"""Writes the pages that tell what the code already says: `make docs`. A test holds them to it."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from api.problems import KINDS
from jobs import metrics
from jobs.settings import Settings

CONFIGURATION = """\
# Configuration

API, workers and the `darkroom-server` command read these environment variables when they start, and
refuse to start on a value that breaks a limit. What holds a secret is never printed. `make run`
sets the addresses of Redis and S3 by itself.

| variable | default | meaning |
| --- | --- | --- |
{table}

What models there are, and what each may be asked for, stands in `models.yaml`: see
[models.md](models.md).
"""

ERRORS = """\
# Errors

Every refusal is a problem as in RFC 9457, `application/problem+json`. Its `type` is one of these
addresses and tells programs what is wrong; `detail` tells people; where fields are at fault,
`errors` names each `field`, what is wrong with it and the `limit` it breaks. The running service
explains each type at its address.

| type | status | title | what to do |
| --- | --- | --- | --- |
{table}

The OpenAI and AUTOMATIC1111 APIs tell the same in their own forms: see [openai.md](openai.md) and
[automatic1111.md](automatic1111.md).
"""


METRICS = """\
# Metrics

What Prometheus scrapes of an API process (`GET /metrics`), and of a worker (the same path at
`DARKROOM_WORKER_METRICS_PORT`). Every API process tells the same of the queue, so take the `max`
over them, not the `sum`. Beside these each process tells `process_*`: processor time, memory, open
files. What they are good for stands in [operations.md](operations.md).

| metric | type | labels | of | meaning |
| --- | --- | --- | --- | --- |
{table}
"""


def settings() -> Iterator[str]:
    """A row for each setting of the service, in the order of `Settings`."""
    prefix = Settings.model_config["env_prefix"]
    for name, field in Settings.model_fields.items():
        variable = field.validation_alias or f"{prefix}{name.upper()}"
        yield f"| `{variable}` | {_default(field)} | {_meaning(field)} |"


def problems() -> Iterator[str]:
    """A row for each problem that a client can be answered with."""
    for name, kind in sorted(KINDS.items(), key=lambda item: (item[1].status, item[0])):
        yield f"| `/problems/{name}` | {int(kind.status)} | {kind.title} | {kind.remedy} |"


def measured() -> Iterator[str]:
    """A row for each metric, in the order of `jobs/metrics.py`."""
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "none"
            process = "worker" if name in set(metrics.names(metrics.WORKER)) else "API"
            yield f"| `{name}` | {family.type} | {labels} | {process} | {family.documentation} |"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value in (None, "", (), {}):
        return "none"
    return f"`{','.join(map(str, value)) if isinstance(value, tuple) else value}`"


def _meaning(field: FieldInfo) -> str:
    words = " ".join(inspect.cleandoc(field.description or "").split()).replace("|", r"\|")
    limits = [
        f"{word} {getattr(rule, name)}"
        for name, word in (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))
        for rule in field.metadata
        if hasattr(rule, name)
    ]
    return f"{words} {', '.join(limits).capitalize()}." if limits else words


PAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "configuration.md": CONFIGURATION.format(table="\n".join(settings())),
        "metrics.md": METRICS.format(table="\n".join(measured())),
        "errors.md": ERRORS.format(table="\n".join(problems())),
    }
)


if __name__ == "__main__":
    for page, text in PAGES.items():
        (Path(__file__).parent / page).write_text(text)
