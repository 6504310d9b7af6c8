"""What the docs tell a reader to type does what they say."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system

DOCS = Path(__file__).parents[2] / "docs"
#: The port that the docs give, which is the service's own by default.
PORT = "8420"
SNIPPET = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INTERPRETERS = {"python": [sys.executable, "-W", "error", "-c"], "sh": ["bash", "-euc"]}


SNIPPETS = [
    pytest.param(*found, id=f"{name}-{number}")
    for name in ("openai.md", "automatic1111.md")
    for number, found in enumerate(SNIPPET.findall((DOCS / name).read_text()))
]


@pytest.mark.parametrize(("language", "snippet"), SNIPPETS)
def test_a_snippet_runs(service: Any, tmp_path: Path, language: str, snippet: str) -> None:
    typed = snippet.replace(PORT, str(service.port)).replace("curl ", "curl --fail ")
    done = subprocess.run(
        [*INTERPRETERS[language], typed],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
