"""Log lines: text for people, one object a line for programs."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from jobs import logs
from jobs.logs import LogFormat

log = logging.getLogger("darkroom.test")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging is the process's; what a test sets ends with it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    yield
    root.handlers[:], root.level = handlers, level


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_about_a_job_names_it_and_others_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", LogFormat.JSON)
    with logs.about("0123"):
        log.info("it has %s", "begun")
    log.info("idle")
    about, idle = lines(capsys)
    assert (about["job_id"], about["message"]) == ("0123", "it has begun")
    assert idle.keys() == {"timestamp", "level", "logger", "message"}


def test_a_traceback_stays_within_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", LogFormat.JSON)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("it broke")
    (line,) = lines(capsys)
    assert line["level"] == "ERROR"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: two\nlines")


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO")
    log.warning("it is late")
    assert capsys.readouterr().err.endswith(" WARNING darkroom.test  it is late\n")
