"""The audit of what is pinned: what it says when it knows, and when nobody can be asked."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "audit.py"
SKIPPED = {"name": "arq", "skip_reason": "not found"}
SOUND = {"name": "arq", "version": "1", "vulns": []}
HOLED = {"name": "arq", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}


@pytest.fixture
def audit() -> ModuleType:
    specification = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("packages", "code", "says"),
    [
        (None, 0, "audit: left out"),
        ([SKIPPED], 0, "audit: left out"),
        ([SOUND, SKIPPED], 0, "audit: 1 of 2 packages, 0 vulnerabilities"),
        ([HOLED, SOUND], 1, "audit: arq 1: CVE-1, mended in 2"),
    ],
)
def test_only_an_audit_that_was_made_passes_or_fails(
    audit: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    packages: list[dict[str, Any]] | None,
    code: int,
    says: str,
) -> None:
    monkeypatch.setattr(audit, "report", lambda: packages)
    assert audit.main() == code
    assert capsys.readouterr().out.startswith(says)


def test_without_a_network_it_knows_nothing_and_says_so(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert all("skip_reason" in package for package in audit.report() or ())
