"""The pages that are made from code say what the code says now."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES: dict[str, str] = runpy.run_path(str(DOCS / "reference.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_it_is_written(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name], "run `make docs`"


@pytest.mark.parametrize("name", PAGES)
def test_every_row_says_something(name: str) -> None:
    rows = [line for line in PAGES[name].splitlines() if line.startswith("| `")]
    assert len(rows) > 10
    assert all(len(row.split(" | ")[-1]) > 10 for row in rows)
