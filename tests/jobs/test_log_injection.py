"""What strangers write into a log: never a line of its own, a signed address or a prompt."""

import json
import logging
import sys

import pytest
from pydantic import ValidationError

from jobs import logs
from jobs.logs import FORMATTERS, LogFormat
from jobs.model import AdmittedRequest, OutputFormat
from jobs.settings import Settings
from jobs.storage import PictureStore, picture_key
from jobs.store import new_job_id

FORGED = "x\n12:00:00 ERROR   darkroom.api  all is lost\r\x1b[2J\x1b]0;me\x07\u2028\x9b31m"


def written(log_format: LogFormat, message: str, error: Exception | None = None) -> str:
    exc_info = (type(error), error, None) if error else None
    record = logging.LogRecord("darkroom", logging.INFO, "", 0, "%s", (message,), exc_info)
    return FORMATTERS[log_format]().format(record)


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_message_is_one_line_whatever_is_in_it(log_format: LogFormat) -> None:
    line = written(log_format, FORGED)
    assert len(line.splitlines()) == 1
    assert not set(line) & set("\x1b\x07\x9b\r")


def test_an_error_s_text_passes_for_no_line_of_the_log() -> None:
    first, *others = written(LogFormat.TEXT, "failed", ValueError(FORGED)).splitlines()
    assert first.endswith("failed")
    assert others
    assert all(line.startswith("  ") for line in others)
    assert "\x1b" not in "".join(others)


def test_json_is_one_object_whatever_is_in_it() -> None:
    line = written(LogFormat.JSON, FORGED, ValueError(FORGED))
    assert json.loads(line)["message"] == FORGED


def test_no_signed_address_and_no_key_reaches_a_log_at_its_loudest(
    settings: Settings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything at DEBUG, a picture is put, signed for, read and deleted."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers[:])
    monkeypatch.setattr(root, "level", root.level)
    logs.configure("DEBUG")
    pictures = PictureStore(settings)
    key = picture_key(new_job_id(), 0, OutputFormat.PNG)
    pictures.put(key, b"picture", "image/png")
    address = pictures.presign(key)
    pictures.get(key)
    pictures.delete([key])
    sys.stderr.flush()
    said = capfd.readouterr().err
    assert "X-Amz-Signature=" in address
    assert "X-Amz-Signature" not in said
    assert settings.s3_access_key is not None
    assert settings.s3_access_key.get_secret_value() not in said


def test_a_record_that_cannot_be_read_is_logged_without_its_prompt() -> None:
    with pytest.raises(ValidationError) as broken:
        AdmittedRequest.model_validate_json('{"prompt": "a private wish", "steps": "private"}')
    assert "private" not in str(broken.value)
