"""The pages of the documentation, run as they stand against the whole stack."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from darkroom.command.exits import ExitCode

pytestmark = pytest.mark.system

REPOSITORY = Path(__file__).parent.parent.parent
DEFAULT_URL = "http://127.0.0.1:8420"
#: What each page's snippets leave behind.
PAGES = {
    "client/README.md": {"circle.png"},
    "docs/api.md": {"batch.json", "circle.png", "job.json"},
    "docs/automatic1111.md": {"circle.png"},
    "docs/client.md": {"again", "circle-7.png", "circle-8.png", "out", "star.png"},
    "docs/keys.md": {"key.json", "out"},
    "docs/operations.md": set(),
    "docs/openai.md": {"circle-0.png", "circle-1.png"},
    "docs/quickstart.md": {
        *("from-curl.png", "from-python.png", "from-command", "from-openai.png"),
        "from-automatic1111.png",
    },
}


def programs(text: str) -> Iterator[list[str]]:
    """A page's Python, each on its own, and then its shell commands, as one reader types them."""
    commands = []
    # What stands in a block of no language is for the reader's eyes.
    for language, snippet in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            yield [sys.executable, "-c", snippet]
        else:
            assert language == "sh"
            commands.append(snippet)
    yield ["bash", "-xeuo", "pipefail", "-c", "\n".join(commands)]


@pytest.mark.parametrize("page", PAGES)
def test_every_snippet_runs(page: str, service: Any, tmp_path: Path) -> None:
    text = (REPOSITORY / page).read_text()
    assert DEFAULT_URL in text
    (tmp_path / "var").symlink_to(service.folder / "var")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for program in programs(text.replace(DEFAULT_URL, service.url)):
        done = subprocess.run(
            program,
            cwd=tmp_path,
            env={**os.environ, "DARKROOM_URL": service.url, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program[-1]}\n{done.stdout}\n{done.stderr}"
    left = {path.name for path in tmp_path.iterdir()}
    assert PAGES[page] <= left


def test_the_client_s_page_lists_every_exit_code() -> None:
    text = (REPOSITORY / "docs" / "client.md").read_text()
    listed = re.findall(r"^\| (\d+) \|", text, re.MULTILINE)
    assert [int(code) for code in listed] == list(ExitCode)
