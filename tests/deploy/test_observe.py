"""Dashboard and alerts ask for metrics that there are, and each alert says what to do."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from watching_rules import FOLDER, alerts, queries

from jobs import metrics

DOCS = Path(__file__).parent.parent.parent / "docs"
PARTS = ("", "_bucket", "_sum", "_count")


def test_every_query_asks_for_a_metric_that_is_told() -> None:
    known = {
        f"{name}{part}"
        for registry in (metrics.API, metrics.WORKER)
        for name in metrics.names(registry)
        for part in PARTS
    }
    asked = set(re.findall(r"\b(?:darkroom|process)_\w+", " ".join(queries())))
    assert len(asked) > 25
    assert asked <= known


def test_every_metric_is_shown_or_watched() -> None:
    """What nobody looks at need not be measured."""
    every_query = " ".join(queries())
    told = [*metrics.names(metrics.API), *metrics.names(metrics.WORKER)]
    unused = {name for name in told if name.startswith("darkroom_") and name not in every_query}
    assert not unused


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_every_alert_says_how_urgent_it_is_and_has_its_section(alert: dict[str, Any]) -> None:
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert (page, anchor) == ("docs/operations.md", alert["alert"].lower())
    text = (DOCS / "operations.md").read_text()
    section = re.search(rf"^### {alert['alert']}\n\n(.+)", text, re.MULTILINE)
    assert section, "it has no section"
    assert len(section[1]) > 60, "its section says nothing"
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert "{{" in alert["annotations"]["summary"] or alert["alert"] in ("DarkroomRedisAway",)


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (apt install prometheus)")
def test_prometheus_takes_the_files() -> None:
    for check in (["rules", "alerts.yml"], ["config", "--syntax-only", "prometheus.yml"]):
        subprocess.run(["promtool", "check", *check], cwd=FOLDER, check=True, capture_output=True)
