"""Whatever the environment says: settings, or an error that names the setting and no secret."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs.settings import Settings

FIELDS = Settings.model_fields
SECRETS = [name for name, field in FIELDS.items() if "Secret" in str(field.annotation)]
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
TRAPS = [
    *(
        "",
        " ",
        ",",
        "=",
        "=,=",
        "nan",
        "inf",
        "-1",
        "1e400",
        "9" * 5_000,
        "true",
        "null",
        "{}",
        "[",
    ),
    *(
        "[",
        "http://[",
        "redis://",
        "file:///etc/passwd",
        "whsec_",
        "10.0.0.0/33",
        "::/200",
        "1_000",
    ),
    *("~nobody/x", "../" * 200, "http://a b", "whsec_AAAA,whsec_", "1 ", "0x10", "\u0661"),
]


def refusal(**values: object) -> ValidationError | None:
    """The error, unless these, or the environment, are settings."""
    try:
        Settings.model_validate(values) if values else Settings()
    except ValidationError as error:
        return error
    return None


@settings(max_examples=500, deadline=None)
@given(name=st.sampled_from(sorted(FIELDS)), value=TEXTS | st.sampled_from(TRAPS))
def test_any_value_is_a_setting_or_an_error_that_names_it(name: str, value: str) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(f"DARKROOM_{name.upper()}", value)
        refused = refusal()
    assert refused is None or {item["loc"][0] for item in refused.errors()} == {name}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_wrong_is_not_told(name: str) -> None:
    for value in (b"hush", ["hush"], {"hush": 1}, "whsec_hush"):
        assert "hush" not in str(refusal(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("WEBHOOK_SECRET", "whsec_hush"), ("CORS_ORIGINS", "nowhere")],
)
def test_the_command_says_it_in_one_line(name: str, value: str) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "local.command", "api"],
        env={**os.environ, f"DARKROOM_{name}": value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 2
    (line,) = said.stderr.strip().splitlines()
    assert line.startswith(f"darkroom-server: DARKROOM_{name}: ")
    assert "hush" not in line
