"""Looks up known vulnerabilities of what `requirements.lock` pins; exits with 1 when there are any.

The look-up needs the network. Without it, or where an index does not know of vulnerabilities, this
says so in a line: a check that cannot be made must neither fail nor pass for one that was.
"""

import json
import subprocess
import sys
from typing import Any

COMMAND = (
    *(sys.executable, "-m", "pip_audit", "--requirement", "requirements.lock"),
    *("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"),
    *("--timeout", "10"),
)
LONGEST_S = 120


def report() -> list[dict[str, Any]] | None:
    """What is known of each package; None when nobody could be asked."""
    try:
        audit = subprocess.run(COMMAND, capture_output=True, text=True, timeout=LONGEST_S)
        packages: list[dict[str, Any]] = json.loads(audit.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return packages


def main() -> int:
    packages = report()
    audited = [package for package in packages or () if "skip_reason" not in package]
    if not audited:
        print("audit: left out, since nobody who knows of vulnerabilities can be reached")
        return 0
    found = [(package, known) for package in audited for known in package["vulns"]]
    for package, known in found:
        mend = ", ".join(known["fix_versions"]) or "no version yet"
        print(f"audit: {package['name']} {package['version']}: {known['id']}, mended in {mend}")
    print(f"audit: {len(audited)} of {len(packages or ())} packages, {len(found)} vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
