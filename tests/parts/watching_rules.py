"""What the dashboard and the alerts ask Prometheus for."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "observe"
#: How an alert's expression ends: what is compared, and with what.
THRESHOLD = re.compile(r"\s*[<>]\s*[\d.]+$")


def alerts() -> list[dict[str, Any]]:
    """Every alert as it is written."""
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def measured(alert: dict[str, Any]) -> str:
    """What an alert looks at, without the threshold that it compares that with."""
    expression, cut = THRESHOLD.subn("", alert["expr"])
    assert cut == 1, alert["expr"]
    return expression


def dashboard_queries() -> Iterator[str]:
    """Every query of the dashboard, for all models, as Grafana fills it in."""
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$model", ".+").replace("$__rate_interval", "1m")


def queries() -> list[str]:
    """All there are."""
    return [*map(measured, alerts()), *dashboard_queries()]
