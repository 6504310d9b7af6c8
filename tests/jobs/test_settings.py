"""Settings come from the environment, within limits, and keep their secrets."""

import pytest
from pydantic import ValidationError

from jobs.settings import Settings


def test_models_are_listed_by_comma(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_MODELS", "shapes-sd, sdxl-base,")
    assert Settings().models == ("shapes-sd", "sdxl-base")


def test_aliases_are_written_as_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_OPENAI_MODEL_ALIASES", "dall-e-3=sdxl-base, gpt-image-1=shapes-sd")
    assert Settings().openai_model_aliases == {"dall-e-3": "sdxl-base", "gpt-image-1": "shapes-sd"}


@pytest.mark.parametrize("wrong", ["dall-e-3", "=sdxl-base", "dall-e-3="])
def test_an_alias_that_is_half_a_pair_is_refused(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("DARKROOM_OPENAI_MODEL_ALIASES", wrong)
    with pytest.raises(ValidationError, match="alias=model"):
        Settings()


def test_a_setting_beyond_its_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_PORT", "70000")
    with pytest.raises(ValidationError, match="less than or equal to 65535") as refused:
        Settings()
    assert refused.value.errors()[0]["loc"] == ("port",)


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    settings = Settings.model_validate(
        {"redis_url": "redis://:hush@h/0", "s3_access_key": "hush", "s3_secret_key": "hush"}
    )
    assert "hush" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_every_setting_says_what_it_is() -> None:
    undescribed = [name for name, field in Settings.model_fields.items() if not field.description]
    assert not undescribed
